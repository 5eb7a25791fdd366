#include "virtio/net/receiver.h"

#include <algorithm>
#include <array>
#include <utility>

#include "virtio/net/config_space.h"

namespace gemel::virtio {
namespace {

using net::kHeaderBytes;

// So many frames are moved before other events have their turn, and before the driver is told.
constexpr int kReceivedATurn = 256;
constexpr int kFramesAnInterrupt = 64;
// One more than a frame may have, so that one which is longer shows.
constexpr std::size_t kScratchBytes = net::kMaxFrameBytes + 1;
// A frame of 1500 bytes of payload.
constexpr std::uint64_t kFirstOffer = kHeaderBytes + 1518;

}  // namespace

NetReceiver::NetReceiver(net::NetBackend* backend, NetCounters* counters,
                         const net::RateLimit& limit, const Clock* clock)
    : backend_(backend),
      counters_(counters),
      limiter_(limit, clock),
      pieces_(net::kMaxPieces),
      scratch_(std::make_unique_for_overwrite<std::byte[]>(kScratchBytes)),
      offered_(kFirstOffer) {}

void NetReceiver::Start(ActiveQueue& queue, std::uint64_t features) {
  queue_ = &queue;
  mergeable_ = (features & kNetFeatureMrgRxbuf) != 0;
  checksum_known_ = (features & kNetFeatureGuestCsum) != 0;
  ring_.resize(queue.queue->size());
  offered_ = kFirstOffer;
}

void NetReceiver::Stop() {
  ring_.clear();  // the chains go back
  first_ = count_ = 0;
  staged_bytes_ = 0;
  frame_.reset();
  queue_ = nullptr;
}

NetReceiver::State NetReceiver::Pump() {
  queue_->queue->DisableNotification();
  for (int left = kReceivedATurn; left > 0; --left) {
    if (const std::optional<State> state = Step()) {
      Interrupt();
      return *state;
    }
    if (left % kFramesAnInterrupt == 0) Interrupt();
  }
  Interrupt();
  return State::kTurnOver;
}

// One frame, or one reason to stop.
std::optional<NetReceiver::State> NetReceiver::Step() {
  if (!frame_) {
    wait_ns_ = limiter_.WaitNs();
    if (wait_ns_ > 0) return State::kLimited;
    if (!Stage(offered_)) return State::kBroken;
    if (count_ == 0) return Starved();
    if (const std::optional<State> state = ReceiveOne()) return state;
    if (!frame_) return std::nullopt;  // not wanted
  }
  const std::uint64_t total = kHeaderBytes + *frame_;
  if (!Stage(total)) return State::kBroken;
  const std::uint64_t room = mergeable_ ? staged_bytes_ : staged(0).bytes;
  if (room < total) return NoRoom();
  Deliver();
  return std::nullopt;
}

// Pops buffers until they hold `bytes`, or there are no more. False: the queue is broken.
bool NetReceiver::Stage(std::uint64_t bytes) {
  while (count_ == 0 || (mergeable_ && staged_bytes_ < bytes)) {
    auto popped = queue_->queue->Pop();
    if (!popped) {
      error_ = popped.error();
      return false;
    }
    if (!popped->has_value()) return true;
    Staged& slot = staged(count_);
    slot.bytes = IovLength((*popped)->writable());
    slot.chain.emplace(**std::move(popped));
    ++count_;
    staged_bytes_ += slot.bytes;
    if (slot.bytes < kHeaderBytes) {  // 5.1.6.3.1: not even a header fits
      error_ = QueueError::kBadBuffer;
      return false;
    }
  }
  return true;
}

std::optional<NetReceiver::State> NetReceiver::Starved() {
  if (queue_->queue->EnableNotification()) {
    queue_->queue->DisableNotification();
    return std::nullopt;
  }
  Add(counters_->rx_starved, 1);
  return State::kStarved;
}

// A frame is larger than the buffers there are. Drivers refill theirs when half are used, at the
// latest, so with fewer than half at hand more will come; with more, waiting could be for ever.
std::optional<NetReceiver::State> NetReceiver::NoRoom() {
  if (mergeable_ && count_ < (ring_.size() + 1) / 2) return Starved();
  Add(counters_->rx_dropped, 1);
  frame_.reset();
  return std::nullopt;
}

void NetReceiver::BuildPieces() {
  pieces_[0] = {&header_, sizeof header_};
  std::size_t n = 1;
  std::size_t skip = kHeaderBytes;  // of the first buffers
  std::uint64_t bytes = 0;
  const std::size_t buffers = mergeable_ ? count_ : 1;
  for (std::size_t i = 0; i < buffers && bytes + kHeaderBytes < offered_; ++i) {
    for (const iovec& segment : staged(i).chain->writable()) {
      if (n + 1 == pieces_.size()) break;
      const std::size_t cut = std::min(skip, segment.iov_len);
      skip -= cut;
      if (cut == segment.iov_len) continue;
      pieces_[n++] = {static_cast<std::byte*>(segment.iov_base) + cut, segment.iov_len - cut};
      bytes += segment.iov_len - cut;
    }
    if (n + 1 == pieces_.size()) break;
  }
  pieces_[n++] = {scratch_.get(), kScratchBytes};
  num_pieces_ = n;
  covered_ = bytes;
}

// Leaves a frame in frame_ if one came that the guest wants.
std::optional<NetReceiver::State> NetReceiver::ReceiveOne() {
  BuildPieces();
  const auto received = backend_->Receive({pieces_.data(), num_pieces_});
  if (!received) {
    if (received.error() == net::NetError::kWouldBlock) return State::kWaiting;
    if (received.error() == net::NetError::kClosed) return State::kClosed;
    Add(counters_->rx_dropped, 1);
    return std::nullopt;
  }
  limiter_.Take(*received);
  offered_ = std::max<std::uint64_t>(kHeaderBytes + *received, offered_ - offered_ / 8);
  if (Wanted(*received)) frame_ = *received;
  return std::nullopt;
}

bool NetReceiver::Wanted(std::size_t frame) {
  if (!link_ || frame > net::kMaxFrameBytes) {
    Add(counters_->rx_dropped, 1);
    return false;
  }
  std::array<std::byte, net::RxFilter::kFrontBytes> front;
  const std::size_t n = std::min(frame, front.size());
  CopyFromIov({pieces_.data() + 1, num_pieces_ - 1}, 0, std::span(front).first(n));
  if (filter_.Accepts(std::span(front).first(n))) return true;
  Add(counters_->rx_filtered, 1);
  return false;
}

// REQUIRES: the staged buffers hold the frame.
void NetReceiver::Deliver() {
  const std::uint64_t total = kHeaderBytes + *frame_;
  if (*frame_ > covered_) CopyRest(total);
  std::uint16_t buffers = 0;
  for (std::uint64_t bytes = 0; bytes < total; ++buffers) bytes += staged(buffers).bytes;
  header_.num_buffers = buffers;
  if (!checksum_known_) header_.flags = 0;  // 5.1.6.4.1
  CopyToIov(staged(0).chain->writable(), 0, std::as_bytes(std::span(&header_, 1)));
  // All at once: a driver that saw the first buffer alone would take the rest for lost (5.1.6.4).
  queue_->queue->HoldUsed();
  std::uint64_t left = total;
  for (; buffers > 0; --buffers) {
    Staged& slot = staged(0);
    const std::uint64_t written = std::min(left, slot.bytes);
    std::move(*slot.chain).Complete(static_cast<std::uint32_t>(written));
    slot.chain.reset();
    staged_bytes_ -= slot.bytes;
    left -= written;
    first_ = (first_ + 1) % ring_.size();
    --count_;
  }
  queue_->queue->PublishUsed();
  Add(counters_->rx_packets, 1);
  Add(counters_->rx_bytes, *frame_);
  frame_.reset();
}

// What the buffers offered had no room for goes behind it, into those staged since.
void NetReceiver::CopyRest(std::uint64_t total) {
  std::span<const std::byte> rest(scratch_.get(), static_cast<std::size_t>(*frame_ - covered_));
  std::uint64_t at = total - rest.size();
  for (std::size_t i = 0; !rest.empty(); ++i) {
    const Staged& slot = staged(i);
    if (at >= slot.bytes) {
      at -= slot.bytes;
      continue;
    }
    rest = rest.subspan(CopyToIov(slot.chain->writable(), static_cast<std::size_t>(at), rest));
    at = 0;
  }
}

NetReceiver::State NetReceiver::Discard() {
  const std::array<iovec, 2> pieces = {iovec{&header_, sizeof header_},
                                       iovec{scratch_.get(), kScratchBytes}};
  frame_.reset();
  for (int left = kReceivedATurn; left > 0; --left) {
    const auto received = backend_->Receive(pieces);
    if (!received && received.error() == net::NetError::kWouldBlock) return State::kWaiting;
    if (!received && received.error() == net::NetError::kClosed) return State::kClosed;
    Add(counters_->rx_dropped, 1);
  }
  return State::kTurnOver;
}

void NetReceiver::Interrupt() {
  if (queue_->queue->NeedsInterrupt()) queue_->interrupt->Trigger();
}

}  // namespace gemel::virtio
