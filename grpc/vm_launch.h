// Everything of a VM's start that may wait: folder, cgroup, files, locks, helpers, the process. Runs
// on a thread of its own, and cleans up behind itself when it fails.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "grpc/vm_folder.h"
#include "grpc/vm_process.h"
#include "grpc/vm_supervisor.h"
#include "launch/run_files.h"
#include "launch/vmm_process.h"

namespace gemel::daemon {

struct LaunchedVm {
  VmProcess::Jail jail;
  ConfigureRequest request;
  launch::RunFiles files;  // its request is empty; sockets and helpers of the VM
};

// `cgroup`: a folder for it to join, or empty. kAlreadyExists if `folder` is there.
Result<LaunchedVm> LaunchVm(VmStart start, const VmFolder& folder, const std::string& cgroup,
                            const launch::VmmPrograms& programs);

}  // namespace gemel::daemon
