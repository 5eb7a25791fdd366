// The machine's virtio devices, made from its configuration. Which bus they will hang on is none of
// their business: the profile's Platform attaches them (platform.h).
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/permit.h"
#include "base/result.h"
#include "block/iscsi/shared_claim.h"
#include "virtio/balloon/device.h"
#include "virtio/blk/device.h"
#include "virtio/device.h"
#include "virtio/net/device.h"
#include "vmm/config/machine_config.h"
#include "vmm/machine/machine.h"

namespace gemel {

// A device that waits for its transport, and what `info` will say of it: name, kind, engine and
// note are filled in; the rest is the Platform's.
struct VirtioPart {
  std::unique_ptr<virtio::VirtioDevice> device;
  MachineDevice info;
  virtio::NetDevice* net = nullptr;           // `device`, if it is one
  std::shared_ptr<virtio::BlkCounters> disk;  // of a disk, which writes to it as long as it lives
  virtio::BalloonControl* balloon = nullptr;  // of a balloon: lives as long as the device
};

// As BlkOptions::on_trouble, of the disk that is called so.
using DiskTroubleCallback =
    std::function<void(const std::string& device, const virtio::BlkTrouble& trouble)>;

// What a machine of a cluster has beside its configuration; each outlives its devices, and may be null.
struct ClusterParts {
  Permit* permit = nullptr;
  const block::SharedClaim* claims = nullptr;  // of its disks on targets
};

// In the order in which guests find them, which is guest ABI. Takes the descriptors
// it needs out of `fds`. An error names the argument and the value that cannot be had. With a
// permit those that have effects outside ask it, and vhost, whose kernel side could not, is refused.
Result<std::vector<VirtioPart>> CreateVirtioDevices(const MachineConfig& config, MachineFds& fds,
                                                    const DiskTroubleCallback& on_trouble,
                                                    ClusterParts cluster);

}  // namespace gemel
