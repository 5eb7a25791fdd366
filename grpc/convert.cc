#include "grpc/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "grpc/vm_cgroup.h"
#include "grpc/vm_folder.h"
#include "grpc/vm_statistics.h"
#include "vmm/config/net_config.h"

namespace gemel::daemon {
namespace {

constexpr std::uint32_t kMaxWeight = 10'000;
constexpr std::uint32_t kMaxHostCpus = 4096;
constexpr std::uint32_t kMaxMillis = kMaxHostCpus * 1000;

// What Validate calls a field, and what the API does.
constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kFields = {{
    {"memory", "memory.size_bytes"},
    {"cpus", "cpu.count"},
    {"cpu", "cpu.model"},
    {"kernel", "boot.kernel"},
    {"initrd", "boot.initrd"},
    {"cmdline", "boot.command_line"},
    {"machine", "machine_type"},
    {"acpi", "acpi"},
    {"disk", "disks"},
    {"net", "nics"},
    {"balloon", "balloon"},
    {"vsock", "vsock"},
    {"channel", "channels"},
    {"smbios", "identity"},
}};

std::string Path(std::string_view prefix, std::string_view field) {
  return fmt::format("{}.{}", prefix, field);
}

// "memory: 5M: less than …" as an error of <prefix>.memory.size_bytes.
ApiError FieldError(const Error& error, std::string_view prefix) {
  const std::string_view message = error.message;
  const std::size_t colon = message.find(": ");
  const std::string_view word = message.substr(0, colon);
  const auto known = std::find_if(kFields.begin(), kFields.end(),
                                  [&](const auto& field) { return field.first == word; });
  if (colon == std::string_view::npos || known == kFields.end())
    return InvalidField(prefix, message);
  return InvalidField(Path(prefix, known->second), message.substr(colon + 2));
}

template <class... Args>
std::unexpected<ApiError> Wrong(std::string_view prefix, std::string_view field,
                                fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(
      InvalidField(Path(prefix, field), fmt::format(format, std::forward<Args>(args)...)));
}

ApiResult<void> ConvertBoot(const v1::BootSpec& boot, const HostPaths& paths,
                            std::string_view prefix, BootConfig& config) {
  for (const auto& [field, path] :
       {std::pair<std::string_view, const std::string&>{"boot.kernel", boot.kernel()},
        {"boot.initrd", boot.initrd()}}) {
    if (!path.empty() && FolderOf(path, paths.boot_folders).empty())
      return Wrong(prefix, field, "\"{}\" is not below a folder of this node for that: {}", path,
                   fmt::join(paths.boot_folders, ", "));
  }
  if (boot.kernel().empty())
    return Wrong(prefix, "boot.kernel", "missing: a path on the node, below one of: {}",
                 fmt::join(paths.boot_folders, ", "));
  config = {boot.kernel(), boot.initrd(), boot.command_line()};
  return {};
}

// Whose machine it is, and whether another has that LUN, is for its caller to say (VmManager).
ApiResult<DiskConfig> ToIscsiDisk(const v1::DiskAttachment& disk, std::string_view uid, int index,
                                  const IscsiTargets& targets, std::string_view prefix) {
  const auto field = [&](std::string_view name) {
    return fmt::format("disks[{}].{}", index, name);
  };
  const v1::IscsiLun& lun = disk.iscsi();
  const auto target = targets.targets.find(lun.target());
  if (target == targets.targets.end())
    return Wrong(prefix, field("iscsi.target"), "\"{}\" is none of this node's iSCSI targets",
                 lun.target());
  if (disk.io_engine() != v1::IO_ENGINE_UNSPECIFIED)
    return Wrong(prefix, field("io_engine"), "an iSCSI disk has none to choose");
  if (disk.limit().ByteSizeLong() != 0)
    return Wrong(prefix, field("limit"), "limits are for disks of this node, not for iSCSI");
  auto iscsi = LunOf(target->second, lun.lun());
  if (!iscsi) return Wrong(prefix, field("iscsi.lun"), "{}", iscsi.error().message);
  SetMachineNexus(targets, uid, static_cast<std::uint32_t>(index), *iscsi);
  DiskConfig config;
  config.path = IscsiUrl(*iscsi);
  config.readonly = disk.read_only();
  config.serial = disk.serial();
  config.iscsi = std::move(*iscsi);
  return config;
}

bool SameDisk(const v1::DiskAttachment& a, const v1::DiskAttachment& b) {
  if (a.has_iscsi() != b.has_iscsi()) return false;
  if (!a.has_iscsi()) return a.disk() == b.disk();
  return a.iscsi().target() == b.iscsi().target() && a.iscsi().lun() == b.iscsi().lun();
}

ApiResult<DiskConfig> ToDiskConfig(const v1::DiskAttachment& disk, std::string_view uid, int index,
                                   const HostPaths& paths, std::string_view prefix) {
  const auto field = [&](std::string_view name) {
    return fmt::format("disks[{}].{}", index, name);
  };
  if (disk.has_iscsi()) {
    if (!disk.disk().empty())
      return Wrong(prefix, field("iscsi"), "\"{}\" is named, too: either disk or iscsi",
                   disk.disk());
    return ToIscsiDisk(disk, uid, index, paths.iscsi, prefix);
  }
  auto path = paths.disk_path(disk.disk());
  if (!path) return Wrong(prefix, field("disk"), "{}", path.error().message());
  DiskConfig config;
  config.path = std::move(*path);
  config.readonly = disk.read_only();
  config.serial = disk.serial();
  config.direct = disk.direct();
  if (disk.io_engine() == v1::IO_ENGINE_IO_URING) config.engine = IoEngine::kIoUring;
  if (disk.io_engine() == v1::IO_ENGINE_SYNC) config.engine = IoEngine::kSync;
  return config;
}

ApiResult<void> ConvertDisks(const v1::VirtualMachineSpec& spec, std::string_view uid,
                             const HostPaths& paths, std::string_view prefix,
                             MachineConfig& config) {
  for (int i = 0; i < spec.disks_size(); ++i) {
    for (int j = 0; j < i; ++j) {
      if (!SameDisk(spec.disks(j), spec.disks(i))) continue;
      const bool iscsi = spec.disks(i).has_iscsi();
      const v1::IscsiLun& lun = spec.disks(i).iscsi();
      return Wrong(prefix, fmt::format("disks[{}].{}", i, iscsi ? "iscsi" : "disk"),
                   "\"{}\" is attached twice",
                   iscsi ? fmt::format("{}/{}", lun.target(), lun.lun()) : spec.disks(i).disk());
    }
    auto disk = ToDiskConfig(spec.disks(i), uid, i, paths, prefix);
    if (!disk) return std::unexpected(std::move(disk).error());
    config.disks.push_back(std::move(*disk));
  }
  return {};
}

NetLimit ToNetLimit(const v1::RateLimit& limit) {
  return {limit.bytes_per_second(), limit.bytes_burst(), limit.packets_per_second(),
          limit.packets_burst()};
}

ApiResult<NetConfig> ToNetConfig(const v1::NetworkInterface& nic, std::string_view uid, int index,
                                 const HostPaths& paths, std::string_view prefix) {
  const auto field = [&](std::string_view name) { return fmt::format("nics[{}].{}", index, name); };
  NetConfig net;
  if (!nic.network().empty()) {
    if (!paths.tap_name)
      return Wrong(prefix, field("network"), "\"{}\": this node has no networks", nic.network());
    net.kind = NetConfig::Kind::kTap;
    net.name = paths.tap_name(fmt::format("{}/{}", uid, index));
    if (!paths.vhost) net.vhost = VhostMode::kOff;
  } else if (nic.vlan() != 0) {
    return Wrong(prefix, field("vlan"), "{}: user networking has no VLANs", nic.vlan());
  }
  if (!nic.mac_address().empty()) {
    auto mac = ParseMac("mac_address", nic.mac_address());
    if (!mac) return Wrong(prefix, field("mac_address"), "{}", mac.error().message);
    net.mac = *mac;
  } else {
    net.mac = DeriveMac(uid, static_cast<std::uint32_t>(index));
  }
  net.mtu = nic.mtu();
  net.queues = nic.queues() == 0 ? 1 : nic.queues();
  net.rx = ToNetLimit(nic.receive_limit());
  net.tx = ToNetLimit(nic.transmit_limit());
  for (const v1::PortForward& forward : nic.port_forwards()) {
    if (forward.host_port() == 0 || forward.host_port() > 65535 || forward.guest_port() == 0 ||
        forward.guest_port() > 65535)
      return Wrong(prefix, field("port_forwards"), "{} to {}: a port is from 1 to 65535",
                   forward.host_port(), forward.guest_port());
    HostForward& to = net.user.forwards.emplace_back();
    to.udp = forward.protocol() == v1::TRANSPORT_PROTOCOL_UDP;
    if (!forward.host_address().empty()) to.host_address = forward.host_address();
    to.host_port = static_cast<std::uint16_t>(forward.host_port());
    to.guest_port = static_cast<std::uint16_t>(forward.guest_port());
  }
  if (const Status valid = Validate(net); !valid)
    return Wrong(prefix, fmt::format("nics[{}]", index), "{}", valid.error().message);
  return net;
}

void ConvertSmall(const v1::VirtualMachineSpec& spec, MachineConfig& config) {
  config.cpus = spec.cpu().count();
  config.cpu_model = spec.cpu().model();
  config.memory = {spec.memory().size_bytes(), spec.memory().shared(), spec.memory().hugepages()};
  config.rng = spec.rng();
  config.acpi = spec.acpi();
  config.on_reboot =
      spec.on_guest_reboot() == v1::ON_GUEST_REBOOT_STOP ? OnReboot::kExit : OnReboot::kReset;
  if (spec.has_balloon()) {
    config.balloon = BalloonConfig{spec.balloon().size_bytes(), spec.balloon().deflate_on_oom(),
                                   spec.balloon().free_page_reporting()};
  }
  config.identity.product = spec.identity().product();
  config.identity.serial = spec.identity().serial();
  config.identity.asset = spec.identity().asset();
  config.serial.kind = SerialConfig::Kind::kNone;  // the supervisor's console hub takes its place
}

}  // namespace

void FillDefaults(v1::VirtualMachineSpec& spec) {
  if (spec.machine_type().empty()) spec.set_machine_type("server-1");
  v1::CpuSpec& cpu = *spec.mutable_cpu();
  if (cpu.count() == 0) cpu.set_count(1);
  if (cpu.model().empty()) cpu.set_model("host");
  if (cpu.weight() == 0) cpu.set_weight(100);
  v1::MemorySpec& memory = *spec.mutable_memory();
  if (memory.size_bytes() == 0) memory.set_size_bytes(512ull << 20);
  static_cast<void>(spec.mutable_boot());
  if (!spec.has_rng()) spec.set_rng(true);
  if (!spec.has_acpi()) spec.set_acpi(true);
  if (spec.has_balloon()) {
    v1::BalloonSpec& balloon = *spec.mutable_balloon();
    if (!balloon.has_deflate_on_oom()) balloon.set_deflate_on_oom(true);
    if (!balloon.has_free_page_reporting()) balloon.set_free_page_reporting(true);
  }
  if (spec.has_vsock() && spec.vsock().cid() == 0) spec.mutable_vsock()->set_cid(3);
  if (spec.on_guest_reboot() == v1::ON_GUEST_REBOOT_UNSPECIFIED)
    spec.set_on_guest_reboot(v1::ON_GUEST_REBOOT_RESET);
  if (spec.restart_policy() == v1::RESTART_POLICY_UNSPECIFIED)
    spec.set_restart_policy(v1::RESTART_POLICY_NEVER);
  if (!spec.has_shutdown_timeout()) spec.mutable_shutdown_timeout()->set_seconds(90);
}

ApiResult<MachineConfig> ToMachineConfig(const v1::VirtualMachineSpec& spec, std::string_view vm_id,
                                         std::string_view uid, const HostPaths& paths,
                                         std::string_view prefix) {
  MachineConfig config;
  config.name = std::string(vm_id);
  config.machine = spec.machine_type();
  config.profile = spec.machine_type().starts_with("micro") ? Profile::kMicro : Profile::kServer;
  if (const auto uuid = ParseUuid(uid)) config.identity.uuid = *uuid;
  ConvertSmall(spec, config);
  // Sockets in the machine's folder.
  if (spec.has_vsock()) config.vsock = VsockConfig{spec.vsock().cid(), kVsockSocket};
  for (const v1::ChannelSpec& channel : spec.channels())
    config.channels.push_back({channel.channel(), kChannelPrefix + channel.channel()});
  if (auto boot = ConvertBoot(spec.boot(), paths, prefix, config.boot); !boot)
    return std::unexpected(std::move(boot).error());
  if (auto disks = ConvertDisks(spec, uid, paths, prefix, config); !disks)
    return std::unexpected(std::move(disks).error());
  for (int i = 0; i < spec.nics_size(); ++i) {
    auto net = ToNetConfig(spec.nics(i), uid, i, paths, prefix);
    if (!net) return std::unexpected(std::move(net).error());
    // At its latch the host's kernel would go on.
    if (spec.has_failover()) net->vhost = VhostMode::kOff;
    config.nets.push_back(std::move(*net));
  }
  if (const Status valid = Validate(config); !valid)
    return std::unexpected(FieldError(valid.error(), prefix));
  return config;
}

std::uint64_t MemoryNeed(const v1::VirtualMachineSpec& spec) {
  VmSize size;
  size.memory = spec.memory().size_bytes();
  size.cpus = spec.cpu().count();
  size.devices =
      static_cast<std::size_t>(spec.disks_size()) + static_cast<std::size_t>(spec.nics_size());
  return size.memory + MemoryOverhead(size);
}

ApiResult<VmLimits> ToLimits(const v1::VirtualMachineSpec& spec, std::string_view prefix) {
  const v1::CpuSpec& cpu = spec.cpu();
  if (cpu.weight() < 1 || cpu.weight() > kMaxWeight)
    return Wrong(prefix, "cpu.weight", "{} is not from 1 to {}", cpu.weight(), kMaxWeight);
  if (cpu.limit_millis() > kMaxMillis)
    return Wrong(prefix, "cpu.limit_millis", "{} is more than {}", cpu.limit_millis(), kMaxMillis);
  if (cpu.reservation_millis() > kMaxMillis)
    return Wrong(prefix, "cpu.reservation_millis", "{} is more than {}", cpu.reservation_millis(),
                 kMaxMillis);
  if (cpu.limit_millis() != 0 && cpu.reservation_millis() > cpu.limit_millis())
    return Wrong(prefix, "cpu.reservation_millis", "{} is more than limit_millis, {}",
                 cpu.reservation_millis(), cpu.limit_millis());
  for (const std::uint32_t host_cpu : cpu.pinned_cpus()) {
    if (host_cpu >= kMaxHostCpus)
      return Wrong(prefix, "cpu.pinned_cpus", "{} is not a processor of this host", host_cpu);
  }
  const v1::MemorySpec& memory = spec.memory();
  const std::uint64_t need = MemoryNeed(spec);
  if (memory.limit_bytes() != 0 && memory.limit_bytes() < need)
    return Wrong(
        prefix, "memory.limit_bytes",
        "{} is less than {}: size_bytes, and {} that the process around the guest may need",
        memory.limit_bytes(), need, need - memory.size_bytes());
  VmLimits limits;
  limits.cpu_weight = cpu.weight();
  limits.cpu_cap_milli = cpu.limit_millis();
  limits.memory = memory.limit_bytes() != 0 ? memory.limit_bytes() : need;
  limits.cpus.assign(cpu.pinned_cpus().begin(), cpu.pinned_cpus().end());
  return limits;
}

v1::ExitReason ToExitReason(VmExitCause cause) {
  switch (cause) {
    case VmExitCause::kGuestPoweredOff:
      return v1::EXIT_REASON_GUEST_POWER_OFF;
    case VmExitCause::kPoweredOff:
      return v1::EXIT_REASON_STOPPED;
    case VmExitCause::kGuestRebooted:
      return v1::EXIT_REASON_GUEST_REBOOT;
    case VmExitCause::kGuestPanicked:
      return v1::EXIT_REASON_GUEST_PANIC;
    case VmExitCause::kTripleFault:
      return v1::EXIT_REASON_TRIPLE_FAULT;
    case VmExitCause::kKilled:
      return v1::EXIT_REASON_VMM_KILLED;
    case VmExitCause::kNotStarted:
      return v1::EXIT_REASON_START_FAILED;
    case VmExitCause::kLost:
      return v1::EXIT_REASON_LOST;
    case VmExitCause::kCrashed:
    case VmExitCause::kRefusedCall:
      break;
  }
  return v1::EXIT_REASON_VMM_FAILED;
}

std::string ReasonWord(v1::ExitReason reason) {
  return v1::ExitReason_Name(reason).substr(std::string_view("EXIT_REASON_").size());
}

std::string_view FolderOf(std::string_view path, const std::vector<std::string>& folders) {
  if (path.find('\0') != std::string_view::npos) return {};
  for (const std::string& folder : folders) {
    if (path.size() > folder.size() + 1 && path.starts_with(folder) && path[folder.size()] == '/')
      return folder;
  }
  return {};
}

namespace {

void SetDuration(std::uint64_t ns, google::protobuf::Duration& duration) {
  duration.set_seconds(static_cast<std::int64_t>(ns / 1'000'000'000));
  duration.set_nanos(static_cast<std::int32_t>(ns % 1'000'000'000));
}

}  // namespace

v1::VirtualMachineStats ToStats(const std::string& name, std::int64_t realtime_ns,
                                const VmStatistics& statistics) {
  v1::VirtualMachineStats out;
  out.set_name(name);
  out.mutable_sample_time()->set_seconds(realtime_ns / 1'000'000'000);
  out.mutable_sample_time()->set_nanos(static_cast<std::int32_t>(realtime_ns % 1'000'000'000));
  SetDuration(statistics.cpu_ns, *out.mutable_cpu_time());
  SetDuration(std::accumulate(statistics.vcpu_ns.begin(), statistics.vcpu_ns.end(), 0ull),
              *out.mutable_vcpu_time());
  out.set_memory_resident_bytes(statistics.resident_bytes);
  out.set_memory_charged_bytes(statistics.memory_bytes);
  out.set_resets(statistics.resets);
  for (const auto& [reason, count] : statistics.exits) (*out.mutable_exits())[reason] = count;
  const auto sum = [&](DeviceKind kind, std::string_view counter) {
    return CounterOf(statistics, kind, counter);
  };
  out.set_disk_read_bytes(sum(DeviceKind::kDisk, "bytes_read"));
  out.set_disk_write_bytes(sum(DeviceKind::kDisk, "bytes_written"));
  out.set_disk_read_operations(sum(DeviceKind::kDisk, "reads"));
  out.set_disk_write_operations(sum(DeviceKind::kDisk, "writes"));
  out.set_disk_flush_operations(sum(DeviceKind::kDisk, "flushes"));
  out.set_disk_errors(sum(DeviceKind::kDisk, "io_errors"));
  SetDuration(sum(DeviceKind::kDisk, "read_ns"), *out.mutable_disk_read_time());
  SetDuration(sum(DeviceKind::kDisk, "write_ns"), *out.mutable_disk_write_time());
  SetDuration(sum(DeviceKind::kDisk, "flush_ns"), *out.mutable_disk_flush_time());
  out.set_net_receive_bytes(sum(DeviceKind::kNet, "rx_bytes"));
  out.set_net_transmit_bytes(sum(DeviceKind::kNet, "tx_bytes"));
  out.set_net_receive_packets(sum(DeviceKind::kNet, "rx_packets"));
  out.set_net_transmit_packets(sum(DeviceKind::kNet, "tx_packets"));
  out.set_net_receive_dropped(sum(DeviceKind::kNet, "rx_dropped"));
  out.set_net_transmit_dropped(sum(DeviceKind::kNet, "tx_dropped"));
  out.set_net_errors(sum(DeviceKind::kNet, "tx_errors"));
  return out;
}

}  // namespace gemel::daemon
