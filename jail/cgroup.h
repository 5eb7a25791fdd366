// A control group (cgroup v2) of the VM's own, below that of whoever starts it. It bounds the
// number of threads, where that controller is to be had, and says what the VM uses.
#pragma once
#include <sys/types.h>

#include "jail/text.h"

namespace gemel::jail {

class Cgroup {
 public:
  // Joins one that our caller made and will remove, with all that is started from now on. The errno,
  // or 0.
  int Join(const char* folder);
  // Makes "gemel-<our pid>". The errno, or 0. ENOENT: this host has no cgroup v2.
  int Create();
  // Its folder, to clone into; -1 if there is none. That is the quick way: to move a process waits
  // for all processors of the host, some 15 ms.
  int fd() const { return fd_; }
  // The slow way, for kernels before 5.7. The errno, or 0.
  int Add(pid_t process) const;
  // Once everybody in it has gone.
  void Remove() const;

 private:
  Text path_;
  int fd_ = -1;  // lives as long as the process
};

}  // namespace gemel::jail
