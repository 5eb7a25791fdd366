#include "grpc/vm_statistics.h"

#include <time.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <string_view>

#include "base/clock.h"
#include "base/file_util.h"

namespace gemel::daemon {
namespace {

// A machine's process may be its guest's: it cannot make us keep, or show, more than this.
constexpr std::size_t kMostExits = 32;
constexpr std::size_t kMostDevices = 64;
constexpr std::size_t kMostWordBytes = 32;

bool IsWord(std::string_view word) {
  return !word.empty() && word.size() <= kMostWordBytes &&
         word.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == word.npos;
}

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

VmStatistics GatherStatistics(const VmInfo& info, pid_t vmm, std::uint64_t memory_in_use) {
  VmStatistics statistics;
  statistics.memory_bytes = memory_in_use;
  statistics.resets = info.resets;
  std::map<std::string, std::uint64_t> exits;
  for (const VcpuInfo& vcpu : info.vcpus) {
    statistics.vcpu_ns.push_back(vcpu.cpu_ns);
    for (const auto& [reason, count] : vcpu.exits)
      exits[IsWord(reason) && (exits.size() < kMostExits || exits.contains(reason)) ? reason
                                                                                    : "other"] +=
          count;
  }
  statistics.exits.assign(exits.begin(), exits.end());
  for (const DeviceInfo& device : info.devices) {
    const bool known =
        IsDeviceName(device.name, DeviceKind::kDisk) || IsDeviceName(device.name, DeviceKind::kNet);
    if (known && statistics.devices.size() < kMostDevices)
      statistics.devices.emplace_back(device.name, device.counters);
  }
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

bool IsDeviceName(std::string_view name, DeviceKind kind) {
  if (!name.starts_with(kind == DeviceKind::kDisk ? "blk" : "net")) return false;
  const std::string_view number = name.substr(3);
  return !number.empty() && number.size() <= 3 &&
         number.find_first_not_of("0123456789") == number.npos;
}

std::uint64_t CounterOf(const VmStatistics& statistics, DeviceKind kind, std::string_view counter) {
  std::uint64_t total = 0;
  for (const auto& [device, counters] : statistics.devices) {
    if (!IsDeviceName(device, kind)) continue;
    for (const auto& [name, value] : counters)
      if (name == counter) total += value;
  }
  return total;
}

std::uint64_t ParseResidentBesideGuest(std::string_view smaps) {
  std::uint64_t total = 0;
  std::uint64_t mapping = 0;
  while (!smaps.empty()) {
    const std::string_view line = smaps.substr(0, smaps.find('\n'));
    smaps.remove_prefix(std::min(line.size() + 1, smaps.size()));
    if (line.starts_with("Rss:")) mapping = SizeOf(line, "Rss:");
    // The last line of a mapping. "dd" is MADV_DONTDUMP, which guest RAM has (vmm/memory).
    if (!line.starts_with("VmFlags:")) continue;
    if (line.find(" dd") == line.npos) total += mapping;
    mapping = 0;
  }
  return total;
}

std::uint64_t ResidentBesideGuest(pid_t vmm) {
  constexpr std::size_t kMostBytes = 16 << 20;
  const auto smaps = ReadTextFile(fmt::format("/proc/{}/smaps", vmm), kMostBytes);
  return smaps ? ParseResidentBesideGuest(*smaps) : 0;
}

}  // namespace gemel::daemon
