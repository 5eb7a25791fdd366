#include "vmm/machine/virtio_devices.h"

#include <string>
#include <utility>

#include "block/raw.h"
#include "net/adopt.h"
#include "virtio/blk/device.h"
#include "virtio/net/device.h"
#include "virtio/rng/device.h"

namespace gemel {
namespace {

Result<VirtioPart> CreateDisk(std::size_t index, const DiskConfig& disk, UniqueFd fd) {
  block::RawOptions options;
  options.fd = std::move(fd);
  options.read_only = disk.readonly;
  options.direct = disk.direct;
  options.engine = disk.engine == IoEngine::kSync      ? block::Engine::kSync
                   : disk.engine == IoEngine::kIoUring ? block::Engine::kIoUring
                                                       : block::Engine::kAuto;
  auto backend = block::OpenRaw(std::move(options));
  if (!backend) return WithContext(backend.error(), fmt::format("disk: {}", disk.path));
  VirtioPart part;
  part.info.name = fmt::format("blk{}", index);
  part.info.kind = "virtio-blk";
  part.info.engine = (*backend)->engine();
  if (disk.engine == IoEngine::kAuto && part.info.engine == "sync")
    part.info.note = "this host refuses io_uring";
  ASSIGN_OR_RETURN(part.device, virtio::CreateBlk({.name = part.info.name,
                                                   .serial = disk.serial,
                                                   .backend = std::move(*backend)}));
  return part;
}

net::RateLimit ToRateLimit(const NetLimit& limit) {
  return {limit.bytes, limit.bytes_burst, limit.packets, limit.packets_burst};
}

Result<VirtioPart> CreateNetwork(std::size_t index, const MachineConfig& config, NetFds fds) {
  const NetConfig& net = config.nets[index];
  virtio::NetOptions options;
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
  part.info.engine = options.backends[0]->engine();
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

}  // namespace

Result<std::vector<VirtioPart>> CreateVirtioDevices(const MachineConfig& config, MachineFds& fds) {
  std::vector<VirtioPart> parts;
  for (std::size_t i = 0; i < config.disks.size(); ++i) {
    ASSIGN_OR_RETURN(VirtioPart disk, CreateDisk(i, config.disks[i], std::move(fds.disks[i])));
    parts.push_back(std::move(disk));
  }
  for (std::size_t i = 0; i < config.nets.size(); ++i) {
    ASSIGN_OR_RETURN(VirtioPart net, CreateNetwork(i, config, std::move(fds.nets[i])));
    parts.push_back(std::move(net));
  }
  if (config.rng) {
    ASSIGN_OR_RETURN(VirtioPart rng, CreateRng());
    parts.push_back(std::move(rng));
  }
  return parts;
}

}  // namespace gemel
