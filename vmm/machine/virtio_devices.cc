#include "vmm/machine/virtio_devices.h"

#include <string>
#include <utility>

#include "block/iscsi/disk.h"
#include "block/raw.h"
#include "net/adopt.h"
#include "virtio/console/device.h"
#include "virtio/net/device.h"
#include "virtio/net/vhost.h"
#include "virtio/rng/device.h"
#include "virtio/vsock/device.h"

namespace gemel {
namespace {

Result<std::unique_ptr<block::BlockBackend>> OpenFile(const DiskConfig& disk, UniqueFd fd,
                                                      Permit* permit) {
  block::RawOptions options;
  options.permit = permit;
  options.fd = std::move(fd);
  options.read_only = disk.readonly;
  options.direct = disk.direct;
  options.device_discard = disk.device_discard;
  options.engine = disk.engine == IoEngine::kSync      ? block::Engine::kSync
                   : disk.engine == IoEngine::kIoUring ? block::Engine::kIoUring
                                                       : block::Engine::kAuto;
  return block::OpenRaw(std::move(options));
}

// A disk that is only read is claimed by nobody.
Result<std::unique_ptr<block::BlockBackend>> OpenTarget(std::size_t index, const DiskConfig& disk,
                                                        UniqueFd dialer,
                                                        std::function<void()> on_conflict,
                                                        ClusterParts cluster) {
  const IscsiConfig& iscsi = *disk.iscsi;
  block::IscsiOptions options;
  options.dialer = std::move(dialer);
  options.address = {iscsi.target, iscsi.lun, iscsi.user, iscsi.password};
  options.nexus = {iscsi.initiator, iscsi.isid, iscsi.qualifier};
  options.read_only = disk.readonly;
  if (iscsi.hold_conflicts || cluster.permit != nullptr)
    options.conflict = block::IscsiOptions::Conflict::kHold;
  options.on_conflict = std::move(on_conflict);
  options.permit = cluster.permit;
  if (!disk.readonly) options.claims = cluster.claims;
  options.number = index;
  return block::OpenIscsi(std::move(options));
}

Result<VirtioPart> CreateDisk(std::size_t index, const DiskConfig& disk, UniqueFd fd,
                              const DiskTroubleCallback& on_trouble, ClusterParts cluster) {
  Permit* const permit = cluster.permit;
  VirtioPart part;
  part.info.name = fmt::format("blk{}", index);
  auto conflict = [on_trouble, permit, name = part.info.name] {
    if (permit != nullptr) permit->Refused();
    on_trouble(name, {"reservation conflict: somebody else has this disk", 1});
  };
  auto backend = disk.iscsi ? OpenTarget(index, disk, std::move(fd), std::move(conflict), cluster)
                            : OpenFile(disk, std::move(fd), permit);
  if (!backend) return WithContext(backend.error(), fmt::format("disk: {}", disk.path));
  part.info.kind = "virtio-blk";
  part.info.engine = (*backend)->engine();
  if (disk.engine == IoEngine::kAuto && part.info.engine == "sync")
    part.info.note = "this host refuses io_uring";
  part.disk = std::make_shared<virtio::BlkCounters>();
  auto tell = [on_trouble, name = part.info.name](const virtio::BlkTrouble& trouble) {
    on_trouble(name, trouble);
  };
  ASSIGN_OR_RETURN(part.device, virtio::CreateBlk({.name = part.info.name,
                                                   .serial = disk.serial,
                                                   .backend = std::move(*backend),
                                                   .counters = part.disk.get(),
                                                   .on_trouble = std::move(tell),
                                                   .permit = permit}));
  return part;
}

net::RateLimit ToRateLimit(const NetLimit& limit) {
  return {limit.bytes, limit.bytes_burst, limit.packets, limit.packets_burst};
}

// One for each backend; why not, otherwise.
Result<std::vector<std::unique_ptr<net::VhostNet>>> AdoptVhosts(
    std::vector<UniqueFd>& fds, const std::vector<std::unique_ptr<net::NetBackend>>& backends) {
  std::vector<std::unique_ptr<net::VhostNet>> vhosts;
  for (std::size_t i = 0; i < fds.size(); ++i) {
    if (backends[i]->vhost_fd() < 0) return FailedPrecondition("vhost: not with this other end");
    ASSIGN_OR_RETURN(std::unique_ptr<net::VhostNet> vhost, net::AdoptVhostNet(std::move(fds[i])));
    if ((vhost->features() & virtio::NetVhostNeeds()) != virtio::NetVhostNeeds())
      return FailedPrecondition("vhost: this kernel's has features {:#x} alone", vhost->features());
    vhosts.push_back(std::move(vhost));
  }
  return vhosts;
}

// Without being told to, only where it can do all that was asked for.
Status ChooseVhost(const NetConfig& net, NetFds& fds, virtio::NetOptions& options,
                   MachineDevice& info) {
  info.engine = options.backends[0]->engine();
  if (net.vhost == VhostMode::kOff) return {};
  // The kernel goes on moving frames while no thread of ours runs.
  if (options.permit != nullptr && net.vhost == VhostMode::kOn)
    return FailedPrecondition("vhost=on: not for a VM of a cluster");
  if (options.permit != nullptr) return {};
  if (fds.vhost.empty() && net.vhost == VhostMode::kOn)
    return FailedPrecondition("vhost=on: without /dev/vhost-net");
  if (fds.vhost.empty() || net.rx != NetLimit{} || net.tx != NetLimit{}) return {};
  auto vhosts = AdoptVhosts(fds.vhost, options.backends);
  if (!vhosts && net.vhost == VhostMode::kOn) return std::unexpected(vhosts.error());
  if (!vhosts) {
    info.note = vhosts.error().message;
    return {};
  }
  options.vhosts = std::move(*vhosts);
  if (fds.counters.size() == net::InterfaceCounters::kFiles)
    options.host_counters = std::make_unique<net::InterfaceCounters>(std::move(fds.counters));
  info.engine = "vhost";
  return {};
}

Result<VirtioPart> CreateNetwork(std::size_t index, const MachineConfig& config, NetFds fds,
                                 Permit* permit) {
  const NetConfig& net = config.nets[index];
  virtio::NetOptions options;
  options.permit = permit;
  // A VM of a cluster may have been on another host.
  options.announce = permit != nullptr && net.kind == NetConfig::Kind::kTap;
  options.name = fmt::format("net{}", index);
  options.mac = net.mac.value_or(DeriveMac(config.name, static_cast<std::uint32_t>(index)));
  options.mtu = static_cast<std::uint16_t>(net.mtu);
  options.rx_limit = ToRateLimit(net.rx);
  options.tx_limit = ToRateLimit(net.tx);
  for (UniqueFd& fd : fds.queues) {
    auto backend = net::AdoptBackend(std::move(fd));
    if (!backend) return WithContext(backend.error(), options.name);
    options.backends.push_back(std::move(*backend));
  }
  VirtioPart part;
  part.info.name = options.name;
  part.info.kind = "virtio-net";
  if (const Status chosen = ChooseVhost(net, fds, options, part.info); !chosen)
    return WithContext(chosen.error(), part.info.name);
  ASSIGN_OR_RETURN(std::unique_ptr<virtio::NetDevice> device,
                   virtio::CreateNet(std::move(options)));
  part.net = device.get();
  part.device = std::move(device);
  return part;
}

Result<VirtioPart> CreateRng() {
  VirtioPart part;
  part.info.name = "rng0";
  part.info.kind = "virtio-rng";
  ASSIGN_OR_RETURN(part.device, virtio::CreateRng(part.info.name));
  return part;
}

Result<VirtioPart> CreateBalloon(const BalloonConfig& config, const MemoryConfig& memory) {
  VirtioPart part;
  part.info.name = "balloon0";
  part.info.kind = "virtio-balloon";
  if (memory.hugepages) part.info.note = "memory of hugepages=on is not given back";
  ASSIGN_OR_RETURN(virtio::Balloon balloon,
                   virtio::CreateBalloon({.name = part.info.name,
                                          .target = config.size,
                                          .deflate_on_oom = config.deflate_on_oom,
                                          .free_page_reporting = config.free_page_reporting}));
  part.device = std::move(balloon.device);
  part.balloon = balloon.control;
  return part;
}

Result<VirtioPart> CreateConsole(const MachineConfig& config, MachineFds& fds, Permit* permit) {
  virtio::ConsoleOptions options{
      .name = "console0", .console = {}, .channels = {}, .permit = permit};
  if (config.console.kind == ConsoleConfig::Kind::kStdio)
    options.console = {{}, std::move(fds.console_in), std::move(fds.console_out)};
  if (config.console.kind == ConsoleConfig::Kind::kUnix)
    options.console = {std::move(fds.console_in), {}, {}};
  for (std::size_t i = 0; i < config.channels.size(); ++i)
    options.channels.push_back({config.channels[i].name, {std::move(fds.channels[i]), {}, {}}});
  VirtioPart part;
  part.info.name = options.name;
  part.info.kind = "virtio-console";
  ASSIGN_OR_RETURN(part.device, virtio::CreateConsole(std::move(options)));
  return part;
}

Result<VirtioPart> CreateVsock(const VsockConfig& vsock, MachineFds& fds, Permit* permit) {
  VirtioPart part;
  part.info.name = "vsock0";
  part.info.kind = "virtio-vsock";
  part.info.note = fmt::format("CID {}", vsock.cid);
  ASSIGN_OR_RETURN(part.device, virtio::CreateVsock({.name = part.info.name,
                                                     .guest_cid = vsock.cid,
                                                     .listener = std::move(fds.vsock_listener),
                                                     .dialer = std::move(fds.vsock_dialer),
                                                     .permit = permit}));
  return part;
}

}  // namespace

Result<std::vector<VirtioPart>> CreateVirtioDevices(const MachineConfig& config, MachineFds& fds,
                                                    const DiskTroubleCallback& on_trouble,
                                                    ClusterParts cluster) {
  Permit* const permit = cluster.permit;
  std::vector<VirtioPart> parts;
  for (std::size_t i = 0; i < config.disks.size(); ++i) {
    ASSIGN_OR_RETURN(VirtioPart disk,
                     CreateDisk(i, config.disks[i], std::move(fds.disks[i]), on_trouble, cluster));
    parts.push_back(std::move(disk));
  }
  for (std::size_t i = 0; i < config.nets.size(); ++i) {
    ASSIGN_OR_RETURN(VirtioPart net, CreateNetwork(i, config, std::move(fds.nets[i]), permit));
    parts.push_back(std::move(net));
  }
  if (config.rng) {
    ASSIGN_OR_RETURN(VirtioPart rng, CreateRng());
    parts.push_back(std::move(rng));
  }
  if (config.balloon) {
    ASSIGN_OR_RETURN(VirtioPart balloon, CreateBalloon(*config.balloon, config.memory));
    parts.push_back(std::move(balloon));
  }
  if (HasConsole(config)) {
    ASSIGN_OR_RETURN(VirtioPart console, CreateConsole(config, fds, permit));
    parts.push_back(std::move(console));
  }
  if (config.vsock) {
    ASSIGN_OR_RETURN(VirtioPart vsock, CreateVsock(*config.vsock, fds, permit));
    parts.push_back(std::move(vsock));
  }
  return parts;
}

}  // namespace gemel
