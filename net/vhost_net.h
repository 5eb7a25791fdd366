// A queue pair whose frames the host's kernel moves (vhost-net): a second seam beside NetBackend.
// The kernel is told where guest memory and rings lie, and what to signal; from then on frames go
// between a tap and the rings without this process.
//
//   made ── SetUp ──▶ set up ── Connect ──▶ frames move
//     ▲                 │ ▲                    │
//     └── TearDown ─────┘ └──── Disconnect ────┘
//
// One thread, that of the pair. Plain numbers: nothing here knows virtio's queues or KVM.
#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel::net {

// A range of guest memory: where the guest sees it and where it lies in this process.
struct VhostRegion {
  std::uint64_t guest = 0;
  std::uint64_t size = 0;
  std::uint64_t host = 0;
};

// A virtio split ring. Addresses are of this process. The eventfds are borrowed until TearDown.
struct VhostRing {
  std::uint32_t size = 0;
  std::uint64_t descriptors = 0, driver_ring = 0, device_ring = 0;
  int kick = -1;   // the driver has offered buffers
  int call = -1;   // the kernel wants the driver interrupted
  int error = -1;  // the kernel has found the ring broken
};

class VhostNet {
 public:
  virtual ~VhostNet() = default;
  // virtio's feature bits, as far as the kernel has to do with them.
  virtual std::uint64_t features() const = 0;

  // `features`: the negotiated ones among features(). `receive` is what the guest receives from.
  // After an error, as TearDown leaves it.
  virtual Status SetUp(std::uint64_t features, std::span<const VhostRegion> memory,
                       const VhostRing& receive, const VhostRing& transmit) = 0;
  // `tap` (or macvtap) has the 12-byte header in front of frames. After an error no frame moves.
  virtual Status Connect(int tap) = 0;
  // Returns when the kernel touches neither rings nor buffers any more, frames in flight included.
  // Without Connect: nothing.
  virtual void Disconnect() = 0;
  // Disconnects, and lets go of the eventfds.
  virtual void TearDown() = 0;
};

// Takes over an open /dev/vhost-net that nobody owns yet, for this process and its memory.
Result<std::unique_ptr<VhostNet>> AdoptVhostNet(UniqueFd fd);

}  // namespace gemel::net
