// What a VM has used, from its own account and from the host's.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string_view>

#include "grpc/vm_cgroup.h"
#include "grpc/vm_limits.h"
#include "vmm/control/control_messages.h"

namespace gemel::daemon {

// `vmm` is its process; 0: not known. What cannot be had is 0.
VmStatistics GatherStatistics(const VmInfo& info, pid_t vmm, std::uint64_t memory_in_use);

enum class DeviceKind : std::uint8_t { kDisk, kNet };
// "blk0" and "net12" are devices that a machine may have; anything else is an invention of its
// process.
bool IsDeviceName(std::string_view name, DeviceKind kind);
// A counter of all devices of that kind together; one that is not there is 0.
std::uint64_t CounterOf(const VmStatistics& statistics, DeviceKind kind, std::string_view counter);

// Of the text of a /proc/PID/smaps: what is resident of all mappings but guest RAM.
std::uint64_t ParseResidentBesideGuest(std::string_view smaps);
// Resident bytes of a gemel-vmm beside its guest's RAM. 0: it is gone, or not ours to look at.
std::uint64_t ResidentBesideGuest(pid_t vmm);

}  // namespace gemel::daemon
