#include "vmm/config/machine_config.h"

#include <algorithm>

#include "vmm/config/parse.h"

namespace gemel {
namespace {

constexpr std::size_t kMaxPathBytes = 4095;  // PATH_MAX less the zero

bool IsName(const std::string& name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  };
  return !name.empty() && name.size() <= 63 && name[0] >= 'a' && name[0] <= 'z' &&
         std::ranges::all_of(name, fits);
}

Status ValidateMemory(const MemoryConfig& memory) {
  if (memory.size < kMinMemoryBytes)
    return InvalidArgument("memory: {}: less than the least, {}", FormatSize(memory.size),
                           FormatSize(kMinMemoryBytes));
  const std::uint64_t unit = memory.hugepages ? 2ull << 20 : 1ull << 20;
  if (memory.size % unit != 0)
    return InvalidArgument("memory: {}: not a multiple of {}", FormatSize(memory.size),
                           FormatSize(unit));
  // Far beyond every host; keeps sums of addresses from overflowing.
  if (memory.size > kMaxMemoryBytes)
    return InvalidArgument("memory: {}: more than the most, {}", FormatSize(memory.size),
                           FormatSize(kMaxMemoryBytes));
  return {};
}

Status ValidatePath(std::string_view argument, const std::string& path) {
  if (path.find('\0') != std::string::npos)
    return InvalidArgument("{}: a path with a zero byte", argument);
  if (path.size() > kMaxPathBytes)
    return InvalidArgument("{}: a path of {} bytes: more than {}", argument, path.size(),
                           kMaxPathBytes);
  return {};
}

Status ValidateDisk(const DiskConfig& disk) {
  if (disk.path.empty()) return InvalidArgument("disk: path is missing: --disk path=FILE");
  RETURN_IF_ERROR(ValidatePath("disk", disk.path));
  const auto printable = [](char c) { return c >= 0x20 && c < 0x7f; };
  if (disk.serial.size() > 20 || !std::ranges::all_of(disk.serial, printable))
    return InvalidArgument("disk: serial={}: not at most 20 printable ASCII characters",
                           disk.serial);
  if (!disk.iscsi) return {};
  if (disk.direct || disk.engine != IoEngine::kAuto)
    return InvalidArgument("disk: {}: direct and engine are for files", disk.path);
  return ValidateIscsi(*disk.iscsi);
}

Status ValidateBoot(const BootConfig& boot) {
  if (boot.kernel.empty()) return InvalidArgument("kernel: missing: --kernel FILE");
  RETURN_IF_ERROR(ValidatePath("kernel", boot.kernel));
  RETURN_IF_ERROR(ValidatePath("initrd", boot.initrd));
  if (boot.cmdline.size() > kMaxCmdlineBytes)
    return InvalidArgument("cmdline: {} bytes: more than {}", boot.cmdline.size(),
                           kMaxCmdlineBytes);
  if (boot.cmdline.find_first_of(std::string_view("\0\n", 2)) != std::string::npos)
    return InvalidArgument("cmdline: a zero byte or a line break in it");
  return {};
}

Status ValidateSerial(const SerialConfig& serial) {
  using Kind = SerialConfig::Kind;
  const bool wants_path = serial.kind == Kind::kFile || serial.kind == Kind::kUnix;
  if (wants_path == serial.path.empty())
    return InvalidArgument("serial: {}: file and unix have a path, the others have none",
                           serial.path.empty() ? "no path" : serial.path);
  if (serial.kind == Kind::kUnix && serial.path.size() > kMaxSocketBytes)
    return InvalidArgument("serial: unix:{}: {} bytes: a socket's path has at most {}", serial.path,
                           serial.path.size(), kMaxSocketBytes);
  return ValidatePath("serial", serial.path);
}

bool IsModelName(const std::string& name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  return !name.empty() && name.size() <= 63 && std::ranges::all_of(name, fits);
}

Status ValidateIdentity(const MachineConfig& config) {
  if (config.profile == Profile::kServer && !config.acpi)
    return InvalidArgument("acpi: off: profile server cannot do without; --profile micro can");
  const IdentityConfig& identity = config.identity;
  const bool has_text =
      !identity.product.empty() || !identity.serial.empty() || !identity.asset.empty();
  if (config.profile == Profile::kMicro && has_text)
    return InvalidArgument("smbios: profile micro has none");
  return Validate(identity);
}

}  // namespace

std::string_view DefaultMachine(Profile profile) {
  return profile == Profile::kServer ? "server-1" : "micro-1";
}

std::uint32_t MaxDevices(Profile profile) {
  return profile == Profile::kServer ? kMaxPciDevices : kMaxMmioDevices;
}

Status Validate(const MachineConfig& config) {
  if (!IsName(config.name))
    return InvalidArgument("name: {}: not 1 to 63 of a-z, 0-9 and -, beginning with a letter",
                           config.name);
  if (config.machine != DefaultMachine(config.profile))
    return InvalidArgument("machine: {}: unknown; profile {} has {}", config.machine,
                           config.profile == Profile::kServer ? "server" : "micro",
                           DefaultMachine(config.profile));
  if (config.cpus < 1 || config.cpus > kMaxCpus)
    return InvalidArgument("cpus: {}: not from 1 to {}", config.cpus, kMaxCpus);
  RETURN_IF_ERROR(ValidateMemory(config.memory));
  if (!IsModelName(config.cpu_model))
    return InvalidArgument("cpu: {}: not a model's name", config.cpu_model);
  RETURN_IF_ERROR(ValidateBoot(config.boot));
  RETURN_IF_ERROR(ValidateIdentity(config));
  const std::size_t room = MaxDevices(config.profile) - (config.rng ? 1 : 0) -
                           (config.balloon ? 1 : 0) - (HasConsole(config) ? 1 : 0) -
                           (config.vsock ? 1 : 0);
  if (config.disks.size() > room)
    return InvalidArgument("disk: {} disks: more than this machine's {} devices{}",
                           config.disks.size(), room, config.rng ? " beside rng" : "");
  if (config.nets.size() > room - config.disks.size())
    return InvalidArgument("net: {} networks and {} disks: more than this machine's {} devices{}",
                           config.nets.size(), config.disks.size(), room,
                           config.rng ? " beside rng" : "");
  for (const DiskConfig& disk : config.disks) RETURN_IF_ERROR(ValidateDisk(disk));
  for (const NetConfig& net : config.nets) RETURN_IF_ERROR(Validate(net));
  if (config.balloon) RETURN_IF_ERROR(ValidateBalloon(*config.balloon, config.memory.size));
  if (config.vsock) RETURN_IF_ERROR(ValidateVsock(*config.vsock));
  RETURN_IF_ERROR(ValidateConsole(config.console));
  RETURN_IF_ERROR(ValidateChannels(config.channels));
  if (config.console.kind == ConsoleConfig::Kind::kStdio &&
      config.serial.kind == SerialConfig::Kind::kStdio)
    return InvalidArgument("console: stdio: the serial port has it; add --serial none");
  return ValidateSerial(config.serial);
}

bool HasConsole(const MachineConfig& config) {
  return config.console.kind != ConsoleConfig::Kind::kNone || !config.channels.empty();
}

}  // namespace gemel
