#include "vmm/control/machine_proto.h"

#include <algorithm>

namespace gemel {
namespace {

static_assert(static_cast<int>(Profile::kMicro) + 1 == internal::PROFILE_MICRO);
static_assert(static_cast<int>(Profile::kServer) + 1 == internal::PROFILE_SERVER);
static_assert(static_cast<int>(OnReboot::kExit) + 1 == internal::ON_REBOOT_EXIT);
static_assert(static_cast<int>(IoEngine::kSync) + 1 == internal::IO_ENGINE_SYNC);
static_assert(static_cast<int>(NetConfig::Kind::kSocket) + 1 == internal::NET_KIND_SOCKET);
static_assert(static_cast<int>(VhostMode::kOff) + 1 == internal::VHOST_MODE_OFF);
static_assert(static_cast<int>(ConsoleConfig::Kind::kUnix) + 1 == internal::CONSOLE_KIND_UNIX);
static_assert(static_cast<int>(SerialConfig::Kind::kHub) + 1 == internal::SERIAL_KIND_HUB);

Result<IscsiConfig> IscsiFromProto(const internal::Iscsi& in) {
  if (in.port() > 0xffff || in.lun() > 0xffff || in.qualifier() > 0xffff)
    return InvalidArgument("disk: iscsi: port {}, LUN {}, qualifier {}: too large", in.port(),
                           in.lun(), in.qualifier());
  IscsiConfig iscsi;
  iscsi.host = in.host();
  iscsi.port = static_cast<std::uint16_t>(in.port());
  iscsi.target = in.target();
  iscsi.lun = static_cast<std::uint16_t>(in.lun());
  iscsi.initiator = in.initiator();
  iscsi.user = in.user();
  iscsi.password = in.password();
  iscsi.isid = in.isid();
  iscsi.qualifier = static_cast<std::uint16_t>(in.qualifier());
  iscsi.hold_conflicts = in.hold_conflicts();
  return iscsi;
}

// The file of the secret stays with who has read it.
void IscsiToProto(const IscsiConfig& iscsi, internal::Iscsi* out) {
  out->set_host(iscsi.host);
  out->set_port(iscsi.port);
  out->set_target(iscsi.target);
  out->set_lun(iscsi.lun);
  out->set_initiator(iscsi.initiator);
  out->set_user(iscsi.user);
  out->set_password(iscsi.password);
  out->set_isid(iscsi.isid);
  out->set_qualifier(iscsi.qualifier);
  out->set_hold_conflicts(iscsi.hold_conflicts);
}

Result<DiskConfig> DiskFromProto(const internal::Disk& in) {
  DiskConfig disk;
  disk.path = in.path();
  disk.readonly = in.readonly();
  disk.serial = in.serial();
  disk.direct = in.direct();
  ASSIGN_OR_RETURN(disk.engine, EnumFromProto(in.engine(), IoEngine::kSync, "disk: engine"));
  disk.device_discard = in.device_discard();
  if (in.has_iscsi()) {
    ASSIGN_OR_RETURN(disk.iscsi, IscsiFromProto(in.iscsi()));
  }
  return disk;
}

void LimitToProto(const NetLimit& limit, internal::NetLimit* out) {
  out->set_bytes(limit.bytes);
  out->set_bytes_burst(limit.bytes_burst);
  out->set_packets(limit.packets);
  out->set_packets_burst(limit.packets_burst);
}

NetLimit LimitFromProto(const internal::NetLimit& in) {
  return {in.bytes(), in.bytes_burst(), in.packets(), in.packets_burst()};
}

void UserToProto(const UserNetConfig& user, internal::UserNet* out) {
  for (const HostForward& forward : user.forwards) {
    internal::HostForward* f = out->add_forwards();
    f->set_udp(forward.udp);
    f->set_host_address(forward.host_address);
    f->set_host_port(forward.host_port);
    f->set_guest_address(forward.guest_address);
    f->set_guest_port(forward.guest_port);
  }
  out->set_net(user.net);
  out->set_restricted(user.restricted);
}

Result<UserNetConfig> UserFromProto(const internal::UserNet& in) {
  UserNetConfig user;
  for (const internal::HostForward& f : in.forwards()) {
    if (f.host_port() > 0xffff || f.guest_port() > 0xffff)
      return InvalidArgument("net: hostfwd: {}-{}: not ports", f.host_port(), f.guest_port());
    user.forwards.push_back({f.udp(), f.host_address(), static_cast<std::uint16_t>(f.host_port()),
                             f.guest_address(), static_cast<std::uint16_t>(f.guest_port())});
  }
  user.net = in.net();
  user.restricted = in.restricted();
  return user;
}

void NetToProto(const NetConfig& net, internal::Net* out) {
  out->set_kind(EnumToProto<internal::NetKind>(net.kind));
  out->set_name(net.name);
  out->set_path(net.path);
  for (const int fd : net.fds) out->add_fds(static_cast<std::uint32_t>(fd));
  if (net.mac) out->set_mac(std::string(net.mac->begin(), net.mac->end()));
  out->set_mtu(net.mtu);
  out->set_queues(net.queues);
  out->set_vhost(EnumToProto<internal::VhostMode>(net.vhost));
  LimitToProto(net.rx, out->mutable_rx());
  LimitToProto(net.tx, out->mutable_tx());
  UserToProto(net.user, out->mutable_user());
}

Result<NetConfig> NetFromProto(const internal::Net& in) {
  NetConfig net;
  ASSIGN_OR_RETURN(net.kind, EnumFromProto(in.kind(), NetConfig::Kind::kSocket, "net"));
  net.name = in.name();
  net.path = in.path();
  for (const std::uint32_t fd : in.fds()) net.fds.push_back(static_cast<int>(fd & 0x7fffffff));
  if (!in.mac().empty()) {
    if (in.mac().size() != MacAddress().size())
      return InvalidArgument("net: mac: {} bytes", in.mac().size());
    net.mac.emplace();
    std::ranges::copy(in.mac(), net.mac->begin());
  }
  net.mtu = in.mtu();
  net.queues = in.queues();
  ASSIGN_OR_RETURN(net.vhost, EnumFromProto(in.vhost(), VhostMode::kOff, "net: vhost"));
  net.rx = LimitFromProto(in.rx());
  net.tx = LimitFromProto(in.tx());
  ASSIGN_OR_RETURN(net.user, UserFromProto(in.user()));
  return net;
}

void IdentityToProto(const IdentityConfig& identity, internal::Identity* out) {
  if (identity.uuid != Uuid{})
    out->set_uuid(std::string(identity.uuid.begin(), identity.uuid.end()));
  out->set_product(identity.product);
  out->set_serial(identity.serial);
  out->set_asset(identity.asset);
}

Result<IdentityConfig> IdentityFromProto(const internal::Identity& in) {
  IdentityConfig identity;
  if (!in.uuid().empty() && in.uuid().size() != identity.uuid.size())
    return InvalidArgument("uuid: {} bytes", in.uuid().size());
  std::ranges::copy(in.uuid(), identity.uuid.begin());
  identity.product = in.product();
  identity.serial = in.serial();
  identity.asset = in.asset();
  return identity;
}

}  // namespace

void MachineToProto(const MachineConfig& config, internal::Machine* out) {
  out->set_name(config.name);
  out->set_machine(config.machine);
  out->set_profile(EnumToProto<internal::Profile>(config.profile));
  out->set_cpus(config.cpus);
  out->set_cpu_model(config.cpu_model);
  out->mutable_memory()->set_size(config.memory.size);
  out->mutable_memory()->set_shared(config.memory.shared);
  out->mutable_memory()->set_hugepages(config.memory.hugepages);
  out->mutable_boot()->set_kernel(config.boot.kernel);
  out->mutable_boot()->set_initrd(config.boot.initrd);
  out->mutable_boot()->set_cmdline(config.boot.cmdline);
  out->set_acpi(config.acpi);
  IdentityToProto(config.identity, out->mutable_identity());
  for (const DiskConfig& disk : config.disks) {
    internal::Disk* d = out->add_disks();
    d->set_path(disk.path);
    d->set_readonly(disk.readonly);
    d->set_serial(disk.serial);
    d->set_direct(disk.direct);
    d->set_engine(EnumToProto<internal::IoEngine>(disk.engine));
    d->set_device_discard(disk.device_discard);
    if (disk.iscsi) IscsiToProto(*disk.iscsi, d->mutable_iscsi());
  }
  for (const NetConfig& net : config.nets) NetToProto(net, out->add_nets());
  out->set_rng(config.rng);
  out->mutable_console()->set_kind(EnumToProto<internal::ConsoleKind>(config.console.kind));
  out->mutable_console()->set_path(config.console.path);
  for (const ChannelConfig& channel : config.channels) {
    internal::Channel* c = out->add_channels();
    c->set_name(channel.name);
    c->set_path(channel.path);
  }
  if (config.balloon) {
    out->mutable_balloon()->set_size(config.balloon->size);
    out->mutable_balloon()->set_deflate_on_oom(config.balloon->deflate_on_oom);
    out->mutable_balloon()->set_free_page_reporting(config.balloon->free_page_reporting);
  }
  if (config.vsock) {
    out->mutable_vsock()->set_cid(config.vsock->cid);
    out->mutable_vsock()->set_path(config.vsock->path);
  }
  out->mutable_serial()->set_kind(EnumToProto<internal::SerialKind>(config.serial.kind));
  out->mutable_serial()->set_path(config.serial.path);
  out->set_on_reboot(EnumToProto<internal::OnReboot>(config.on_reboot));
}

Result<MachineConfig> MachineFromProto(const internal::Machine& in) {
  MachineConfig config;
  config.name = in.name();
  config.machine = in.machine();
  ASSIGN_OR_RETURN(config.profile, EnumFromProto(in.profile(), Profile::kServer, "profile"));
  config.cpus = in.cpus();
  config.cpu_model = in.cpu_model();
  config.memory = {in.memory().size(), in.memory().shared(), in.memory().hugepages()};
  config.boot = {in.boot().kernel(), in.boot().initrd(), in.boot().cmdline()};
  config.acpi = in.acpi();
  ASSIGN_OR_RETURN(config.identity, IdentityFromProto(in.identity()));
  for (const internal::Disk& disk : in.disks()) {
    ASSIGN_OR_RETURN(DiskConfig d, DiskFromProto(disk));
    config.disks.push_back(std::move(d));
  }
  for (const internal::Net& net : in.nets()) {
    ASSIGN_OR_RETURN(NetConfig n, NetFromProto(net));
    config.nets.push_back(std::move(n));
  }
  config.rng = in.rng();
  ASSIGN_OR_RETURN(config.console.kind,
                   EnumFromProto(in.console().kind(), ConsoleConfig::Kind::kUnix, "console"));
  config.console.path = in.console().path();
  for (const internal::Channel& c : in.channels()) config.channels.push_back({c.name(), c.path()});
  if (in.has_balloon())
    config.balloon = {in.balloon().size(), in.balloon().deflate_on_oom(),
                      in.balloon().free_page_reporting()};
  if (in.has_vsock()) config.vsock = {in.vsock().cid(), in.vsock().path()};
  ASSIGN_OR_RETURN(config.serial.kind,
                   EnumFromProto(in.serial().kind(), SerialConfig::Kind::kHub, "serial"));
  config.serial.path = in.serial().path();
  ASSIGN_OR_RETURN(config.on_reboot, EnumFromProto(in.on_reboot(), OnReboot::kExit, "on-reboot"));
  RETURN_IF_ERROR(Validate(config));
  return config;
}

}  // namespace gemel
