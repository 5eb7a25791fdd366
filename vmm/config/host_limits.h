// What this host can give one VM, and whether a MachineConfig fits in it.
#pragma once
#include <cstdint>
#include <string>

#include "base/result.h"
#include "vmm/config/machine_config.h"

namespace gemel {

// 0: not known, and not checked.
struct HostLimits {
  std::uint64_t memory_bytes = 0;         // all RAM of the host
  std::uint64_t available_bytes = 0;      // what could be had without swapping
  std::uint64_t hugepage_bytes = 0;       // reserved 2 MiB pages, all
  std::uint64_t free_hugepage_bytes = 0;  // of those, not in use
  bool hugepages_known = false;
  std::uint32_t physical_address_bits = 0;  // of guests: KVM's answer, not the host's CPUID
  std::uint32_t max_cpus = 0;               // vCPUs that KVM allows one VM
};

// What /proc/meminfo says: memory and 2 MiB pages. kInvalidArgument if `text` has no MemTotal.
Result<HostLimits> ParseMeminfo(std::string_view text);
// The same of this host.
Result<HostLimits> ReadHostMemory();

// kInvalidArgument, "<argument>: <value>: <what the host has>", for the first thing that does not
// fit. `ram_below_4g`: where the machine type's low RAM ends; the rest lies from 4 GiB on.
Status CheckHostLimits(const MachineConfig& config, const HostLimits& limits,
                       std::uint64_t ram_below_4g = 3ull << 30);

}  // namespace gemel
