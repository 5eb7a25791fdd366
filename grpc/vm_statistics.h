// What a VM has used, from its own account and from the host's.
#pragma once
#include <sys/types.h>

#include "grpc/vm_cgroup.h"
#include "grpc/vm_limits.h"
#include "vmm/control/control_messages.h"

namespace gemel::daemon {

// `jail` is the outer process of its jail. What cannot be had is 0.
VmStatistics GatherStatistics(const VmInfo& info, pid_t jail, std::uint64_t memory_in_use);

}  // namespace gemel::daemon
