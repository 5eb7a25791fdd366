#include "vmm/config/machine_config.h"

#include <algorithm>

namespace gemel {
namespace {

bool IsName(const std::string& name) {
  const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  return !name.empty() && name.size() <= 63 && name[0] >= 'a' && name[0] <= 'z' &&
         std::ranges::all_of(name, fits);
}

Status ValidateMemory(const MemoryConfig& memory) {
  if (memory.size < kMinMemoryBytes)
    return InvalidArgument("memory: {}: less than the least, 16M", memory.size);
  const std::uint64_t unit = memory.hugepages ? 2ull << 20 : 1ull << 20;
  if (memory.size % unit != 0)
    return InvalidArgument("memory: {}: not a multiple of {} MiB", memory.size, unit >> 20);
  return {};
}

Status ValidateDisk(const DiskConfig& disk) {
  if (disk.path.empty()) return InvalidArgument("disk: path is missing: --disk path=FILE");
  const auto printable = [](char c) { return c >= 0x20 && c < 0x7f; };
  if (disk.serial.size() > 20 || !std::ranges::all_of(disk.serial, printable))
    return InvalidArgument("disk: serial={}: not at most 20 printable ASCII characters", disk.serial);
  return {};
}

}  // namespace

Status Validate(const MachineConfig& config) {
  if (!IsName(config.name))
    return InvalidArgument("name: {}: not 1 to 63 of a-z, 0-9 and -, beginning with a letter",
                           config.name);
  if (config.machine != "micro-1")
    return InvalidArgument("machine: {}: unknown; there is micro-1", config.machine);
  if (config.cpus < 1 || config.cpus > kMaxCpus)
    return InvalidArgument("cpus: {}: not from 1 to {}", config.cpus, kMaxCpus);
  RETURN_IF_ERROR(ValidateMemory(config.memory));
  if (config.boot.kernel.empty()) return InvalidArgument("kernel: missing: --kernel FILE");
  if (config.boot.cmdline.size() > 2047)
    return InvalidArgument("cmdline: {} bytes: more than 2047", config.boot.cmdline.size());
  if (config.disks.size() + (config.rng ? 1 : 0) > kMaxMmioDevices)
    return InvalidArgument("disk: {} disks: more than this machine's {} devices",
                           config.disks.size(), kMaxMmioDevices);
  for (const DiskConfig& disk : config.disks) RETURN_IF_ERROR(ValidateDisk(disk));
  return {};
}

}  // namespace gemel
