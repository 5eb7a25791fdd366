// The sending half of a queue pair: the driver's frames to a backend, straight out of its buffers, a
// batch at a time. Headers are copied once and checked; the rest the kernel reads.
#pragma once
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/permit.h"
#include "net/frame_header.h"
#include "net/limiter.h"
#include "net/net_backend.h"
#include "virtio/device.h"
#include "virtio/net/counters.h"

namespace gemel::virtio {

// One thread: the pair's worker.
class NetTransmitter {
 public:
  enum class State : std::uint8_t {
    kWaiting,   // nothing to send: go on when the driver kicks
    kBlocked,   // the backend has no room: go on when it has
    kLimited,   // go on in wait_ns()
    kTurnOver,  // others' turn; there is more
    kBroken,    // the driver broke the queue: error()
  };

  // All outlive this.
  NetTransmitter(net::NetBackend* backend, NetCounters* counters, const net::RateLimit& limit,
                 const Clock* clock, Permit* permit);

  // `allowed`: what frames may leave undone.
  void Start(ActiveQueue& queue, net::Offloads allowed);
  // Gives frames that were not sent back.
  void Stop();
  bool started() const { return queue_ != nullptr; }
  // Without a link frames are dropped.
  void set_link(bool up) { link_ = up; }

  // Sends until one of State's reasons to stop, at most a bounded number. REQUIRES: started.
  State Pump();
  std::int64_t wait_ns() const { return wait_ns_; }
  QueueError error() const { return error_; }
  bool limited() const { return limiter_.limited(); }

 private:
  struct Frame {
    std::optional<DescriptorChain> chain;
    net::FrameHeader header;
    std::size_t bytes = 0;  // without header
  };
  enum class Fill : std::uint8_t { kEmpty, kFull, kLimited, kBroken };
  Fill Collect(int& left);
  void Prepare(DescriptorChain chain);
  // False: no room.
  bool Send();
  void Interrupt();

  net::NetBackend* const backend_;
  NetCounters* const counters_;
  net::Limiter limiter_;
  Permit* const permit_;  // asked before each batch; without it there is no room
  bool link_ = true;

  ActiveQueue* queue_ = nullptr;
  net::Offloads allowed_ = 0;
  QueueError error_{};
  std::int64_t wait_ns_ = 0;

  // The batch: frames [sent_, count_) are still to go.
  std::array<Frame, net::kMaxBatch> frames_;
  std::array<net::NetFrame, net::kMaxBatch> wire_;
  std::size_t sent_ = 0, count_ = 0;
  std::vector<iovec> pieces_;  // all frames', behind one another
  std::size_t num_pieces_ = 0;
};

}  // namespace gemel::virtio
