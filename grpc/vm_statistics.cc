#include "grpc/vm_statistics.h"

#include <time.h>

#include <charconv>
#include <map>
#include <string_view>

#include "base/clock.h"
#include "base/file_util.h"
#include "grpc/process_table.h"

namespace gemel::daemon {
namespace {

// "VmRSS:     1234 kB" of /proc/PID/status, in bytes.
std::uint64_t SizeOf(std::string_view status, std::string_view key) {
  const std::size_t at = status.find(key);
  if (at == status.npos) return 0;
  status.remove_prefix(at + key.size());
  status.remove_prefix(std::min(status.find_first_not_of(" \t"), status.size()));
  std::uint64_t kib = 0;
  std::from_chars(status.data(), status.data() + status.size(), kib);
  return kib << 10;
}

}  // namespace

VmStatistics GatherStatistics(const VmInfo& info, pid_t jail, std::uint64_t memory_in_use) {
  VmStatistics statistics;
  statistics.memory_bytes = memory_in_use;
  statistics.resets = info.resets;
  std::map<std::string, std::uint64_t> exits;
  for (const VcpuInfo& vcpu : info.vcpus) {
    statistics.vcpu_ns.push_back(vcpu.cpu_ns);
    for (const auto& [reason, count] : vcpu.exits) exits[reason] += count;
  }
  statistics.exits.assign(exits.begin(), exits.end());
  for (const DeviceInfo& device : info.devices)
    statistics.devices.emplace_back(device.name, device.counters);
  const pid_t vmm = VmmOf(jail);
  if (vmm <= 0) return statistics;
  clockid_t clock{};
  if (clock_getcpuclockid(vmm, &clock) == 0)
    statistics.cpu_ns = static_cast<std::uint64_t>(ClockNs(clock));
  if (const auto status = ReadTextFile(fmt::format("/proc/{}/status", vmm))) {
    statistics.resident_bytes = SizeOf(*status, "VmRSS:");
    statistics.peak_resident_bytes = SizeOf(*status, "VmHWM:");
  }
  return statistics;
}

}  // namespace gemel::daemon
