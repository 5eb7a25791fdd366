// Takes rights away from this process and from each of its threads, for good.
//
//   single-threaded:  ConfineProcess()     no new privileges, Landlock; every thread that
//                          │               StartThread starts confines itself first
//   machine built:    ConfineThread(kMain) before any file of the guest is looked at
//
// A thread that makes a system call that policy.cc does not give it ends the whole process with
// SIGSYS, after one line "NAME NUMBER THREAD\n" ("openat 257 vcpu-0") to the report descriptor.
#pragma once
#include <span>
#include <vector>

#include "base/thread.h"
#include "vmm/config/sandbox_mode.h"

namespace gemel::sandbox {

// Tells what it could do and what this kernel lacks: no_new_privs, Landlock, seccomp. `report_fd`
// is written to by the handler of SIGSYS; -1: nowhere. Once, before any other thread is started.
std::vector<SandboxLayer> ConfineProcess(int report_fd);

// Confines the calling thread to what its role needs, if this kernel has seccomp. A kernel that has
// it and yet refuses ends the process. REQUIRES: ConfineProcess.
void ConfineThread(ThreadRole role);

}  // namespace gemel::sandbox
