// The receiving half of a queue pair: frames from a backend into the driver's buffers.
//
// Buffers are popped ahead of the frame and stay staged until one fills them; the kernel writes
// straight into them. How many bytes of buffers a frame is offered follows the frames that came
// before; what a larger one leaves over lands in scratch memory and is copied. So a small frame costs
// one short system call, a large one no copy, and none is ever cut.
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "net/frame_header.h"
#include "net/limiter.h"
#include "net/net_backend.h"
#include "net/rx_filter.h"
#include "virtio/device.h"
#include "virtio/net/counters.h"

namespace gemel::virtio {

// One thread: the pair's worker.
class NetReceiver {
 public:
  enum class State : std::uint8_t {
    kWaiting,   // nothing to receive: go on when the backend has something
    kStarved,   // no buffers: go on when the driver kicks
    kLimited,   // go on in wait_ns()
    kTurnOver,  // others' turn; there is more
    kBroken,    // the driver broke the queue: error()
    kClosed,    // the backend is over
  };

  // All outlive this.
  NetReceiver(net::NetBackend* backend, NetCounters* counters, const net::RateLimit& limit,
              const Clock* clock);

  void Start(ActiveQueue& queue, std::uint64_t features);
  // Gives staged buffers back.
  void Stop();
  bool started() const { return queue_ != nullptr; }

  void set_filter(const net::RxFilter& filter) { filter_ = filter; }
  // Without a link frames are received and dropped.
  void set_link(bool up) { link_ = up; }

  // Moves frames until one of State's reasons to stop, at most a bounded number. REQUIRES: started.
  State Pump();
  // Drops what waits; kWaiting, kTurnOver or kClosed.
  State Discard();
  std::int64_t wait_ns() const { return wait_ns_; }
  QueueError error() const { return error_; }
  bool limited() const { return limiter_.limited(); }

 private:
  struct Staged {
    std::optional<DescriptorChain> chain;
    std::uint64_t bytes = 0;
  };
  // What one step came to; nullopt: go on.
  std::optional<State> Step();
  bool Stage(std::uint64_t bytes);
  std::optional<State> ReceiveOne();
  std::optional<State> Starved();
  std::optional<State> NoRoom();
  bool Wanted(std::size_t frame);
  void BuildPieces();
  void Deliver();
  void CopyRest(std::uint64_t total);
  void Interrupt();
  Staged& staged(std::size_t i) { return ring_[(first_ + i) % ring_.size()]; }

  net::NetBackend* const backend_;
  NetCounters* const counters_;
  net::Limiter limiter_;
  net::RxFilter filter_;
  bool link_ = true;

  ActiveQueue* queue_ = nullptr;
  bool mergeable_ = false;
  bool checksum_known_ = false;  // the driver negotiated GUEST_CSUM
  QueueError error_{};
  std::int64_t wait_ns_ = 0;

  // Buffers in the order they came, a ring as large as the queue.
  std::vector<Staged> ring_;
  std::size_t first_ = 0, count_ = 0;
  std::uint64_t staged_bytes_ = 0;

  // The frame being received: header, buffers less the header's place, scratch.
  net::FrameHeader header_{};
  std::vector<iovec> pieces_;
  std::size_t num_pieces_ = 0;
  std::uint64_t covered_ = 0;  // bytes of the frame that the buffers among the pieces take
  std::unique_ptr<std::byte[]> scratch_;
  std::optional<std::size_t> frame_;  // received, and not yet delivered: its bytes
  std::uint64_t offered_;             // bytes of buffers for the next frame
};

}  // namespace gemel::virtio
