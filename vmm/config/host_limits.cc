#include "vmm/config/host_limits.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/file_util.h"
#include "vmm/config/parse.h"

namespace gemel {
namespace {

// The number in the line "<key>:   <number>[ kB]".
std::optional<std::uint64_t> Field(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (!line.starts_with(key) || line.substr(key.size(), 1) != ":") continue;
    line.remove_prefix(key.size() + 1);
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    std::uint64_t number = 0;
    const auto [at, error] = std::from_chars(line.data(), line.data() + line.size(), number);
    if (error != std::errc()) return std::nullopt;
    return number;
  }
  return std::nullopt;
}

// A count of KiB or of 2 MiB pages in bytes; absurd ones are cut rather than overflow.
std::uint64_t Bytes(std::optional<std::uint64_t> count, unsigned shift) {
  return std::min<std::uint64_t>(count.value_or(0), 1ull << 40) << shift;
}

std::uint64_t GuestEnd(std::uint64_t size, std::uint64_t ram_below_4g) {
  constexpr std::uint64_t k4G = 4ull << 30;
  return size <= ram_below_4g ? size : k4G + (size - ram_below_4g);
}

}  // namespace

Result<HostLimits> ParseMeminfo(std::string_view text) {
  HostLimits limits;
  limits.memory_bytes = Bytes(Field(text, "MemTotal"), 10);
  if (limits.memory_bytes == 0) return InvalidArgument("/proc/meminfo: MemTotal is missing");
  limits.available_bytes = Bytes(Field(text, "MemAvailable"), 10);
  // These lines are about the default size; another default leaves 2 MiB pages unknown.
  if (Field(text, "Hugepagesize") == 2048u) {
    limits.hugepages_known = true;
    limits.hugepage_bytes = Bytes(Field(text, "HugePages_Total"), 21);
    limits.free_hugepage_bytes = Bytes(Field(text, "HugePages_Free"), 21);
  }
  return limits;
}

Result<HostLimits> ReadHostMemory() {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile("/proc/meminfo"));
  return ParseMeminfo(text);
}

Status CheckHostLimits(const MachineConfig& config, const HostLimits& limits,
                       std::uint64_t ram_below_4g) {
  const MemoryConfig& memory = config.memory;
  if (limits.memory_bytes != 0 && memory.size > limits.memory_bytes)
    return InvalidArgument("memory: {}: this host has {}", FormatSize(memory.size),
                           RoughSize(limits.memory_bytes));
  if (memory.hugepages && limits.hugepages_known && memory.size > limits.free_hugepage_bytes)
    return InvalidArgument("memory: {},hugepages=on: this host has {} in free 2 MiB pages",
                           FormatSize(memory.size), RoughSize(limits.free_hugepage_bytes));
  const std::uint32_t bits = limits.physical_address_bits;
  if (bits != 0 && bits < 64 && GuestEnd(memory.size, ram_below_4g) > 1ull << bits)
    return InvalidArgument("memory: {}: beyond the {} address bits that this host gives a VM",
                           FormatSize(memory.size), bits);
  if (limits.max_cpus != 0 && config.cpus > limits.max_cpus)
    return InvalidArgument("cpus: {}: more than this host can give one VM ({})", config.cpus,
                           limits.max_cpus);
  return {};
}

}  // namespace gemel
