// A pair of queues that the host's kernel serves (net/vhost_net.h) instead of receiver and
// transmitter. What is left to the pair's thread: interrupts that have no eventfd (virtio-mmio's,
// INTx) are triggered here for the kernel, and a ring that the kernel finds broken breaks the
// device.
//
//   driver's kick ── ioeventfd ──▶ vhost ◀──▶ tap
//                                    ├── MSI-X: irqfd ──▶ guest
//                                    └── else: relay ──▶ this thread ──▶ Interrupt::Trigger
//
// The kernel filters no frames: of a driver's receive mode, address tables and VLANs nothing holds,
// as if it were promiscuous. Nor does it count or limit.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "base/event_fd.h"
#include "base/result.h"
#include "net/vhost_net.h"
#include "virtio/device.h"
#include "virtio/worker.h"

namespace gemel::virtio {

// What the kernel must be able to do, so that a guest cannot tell who serves it: feature bits.
std::uint64_t NetVhostNeeds();

// The pair's thread's alone.
class NetVhost {
 public:
  // `kernel` can do what NetVhostNeeds; `tap` is borrowed.
  NetVhost(std::unique_ptr<net::VhostNet> kernel, int tap)
      : kernel_(std::move(kernel)), tap_(tap) {}
  ~NetVhost() { Stop(); }

  // For Worker::Client::OnStart. Takes queues 2 * `pair` and the next one out of `activation`, so that
  // the worker leaves their kicks alone, and tells the kernel about them. No frame moves yet. After an
  // error, or if the driver has set up but one of the two, `activation` is as it was and false or the
  // error comes back: somebody else must serve it.
  Result<bool> Start(Worker* worker, Activation& activation, std::uint16_t pair);
  bool started() const { return rings_.has_value(); }
  // Lets frames move, or stops them: returns when the kernel has let go. REQUIRES: started().
  Status SetRunning(bool running);
  // The kernel lets go of all. What was taken out of the activation ends here.
  void Stop();

 private:
  struct Ring {
    ActiveQueue queue;
    EventFd error;
    std::optional<EventFd> relay;  // only where the interrupt has no eventfd
  };
  struct Rings {
    Ring receive, transmit;
  };

  static Result<Ring> MakeRing(const ActiveQueue& queue);
  static net::VhostRing Describe(const ActiveQueue& queue, const Ring& ring);
  Status Watch(Ring& ring);
  void Unwatch(const Ring& ring);
  void OnError(const Ring& ring);

  const std::unique_ptr<net::VhostNet> kernel_;
  const int tap_;
  Worker* worker_ = nullptr;  // while started
  std::optional<Rings> rings_;
  bool running_ = false;
};

}  // namespace gemel::virtio
