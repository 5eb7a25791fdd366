// Who the program is: a user of its own where we are root, and nobody's capabilities.
#pragma once
#include <sys/types.h>

namespace gemel::jail {

// The user and group for a VM of ours: ourselves, unless we are root. One for each running
// gemel-jail, of a range that nobody hands out (0x70000000 and our pid).
uid_t ChooseUser();

// From outside: makes `user` the one user that the process's new user namespace knows. The errno,
// or 0.
int MapUser(pid_t process, uid_t user);

// The calling process becomes `user`, without supplementary groups where we are root. The errno,
// or 0.
int BecomeUser(uid_t user);

// No exec gives a capability any more. Without effect for those who may not say so: they have none.
void EmptyBoundingSet();

// No capability from here on. The errno, or 0.
int DropCapabilities();

}  // namespace gemel::jail
