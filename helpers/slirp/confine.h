// Gives up everything that serving frames does not need. A guest that breaks libslirp finds a process
// without files, without rights and with hardly a system call but those on sockets of the Internet.
//
//   user       if root: nobody (65534), no group of ours, root folder an empty one
//   rights     no capability, no new privileges, not dumpable (so nobody of that uid can trace it)
//   limits     descriptors, memory; no core dump, no other process
//   calls      a seccomp list: the first call beyond it ends the process
#pragma once
#include "base/result.h"

namespace gemel::usernet {

// For the whole process, which must have one thread, and for good. An error if what must succeed
// did not; what this host does not have (root's part, where 65534 is not mapped) is logged.
Status Confine();

}  // namespace gemel::usernet
