// The jail's inner process: pid 1 of the VM's pid namespace, the program's parent, and what ends it.
#pragma once
#include <sys/types.h>

#include "jail/shared.h"

namespace gemel::jail {

struct Plan {
  const char* path = nullptr;    // of the program, for messages
  const char* cgroup = nullptr;  // to be joined; or null
  int program_fd = -1;           // the program's file, opened
  char** arguments = nullptr;    // its arguments, with two free places before the null
  uid_t user = 0;
  bool user_namespace = false;  // the keeper is in one, where `user` is mapped
  bool pid_namespace = false;
  int parent_fd = -1;  // a byte comes when all is prepared outside; closed when the outside ends
};

// Leaves the host, starts the program, waits for its end, and notes in `shared` how it ended.
// Returns in the keeper alone. Ends the program by SIGKILL when the outer process has gone, and
// some seconds after whoever holds the other end of kLifeFd has.
void Keep(const Plan& plan, Shared& shared);

}  // namespace gemel::jail
