#include "virtio/net/transmitter.h"

#include <algorithm>
#include <utility>

namespace gemel::virtio {
namespace {

using net::kHeaderBytes;

// So many frames are sent before other events have their turn, whatever the guest does.
constexpr int kSentATurn = 256;
constexpr std::size_t kPieces = 2048;
// A chain has no more segments (virtio/transport/common_config.h), and its header takes one.
constexpr std::size_t kMostPiecesAFrame = 129;

}  // namespace

NetTransmitter::NetTransmitter(net::NetBackend* backend, NetCounters* counters,
                               const net::RateLimit& limit, const Clock* clock, Permit* permit)
    : backend_(backend),
      counters_(counters),
      limiter_(limit, clock),
      permit_(permit),
      pieces_(kPieces) {}

void NetTransmitter::Start(ActiveQueue& queue, net::Offloads allowed) {
  queue_ = &queue;
  allowed_ = allowed;
}

void NetTransmitter::Stop() {
  for (std::size_t i = sent_; i < count_; ++i) frames_[i].chain.reset();
  sent_ = count_ = num_pieces_ = 0;
  queue_ = nullptr;
}

NetTransmitter::State NetTransmitter::Pump() {
  int left = kSentATurn;
  queue_->queue->DisableNotification();
  while (Send()) {
    if (left <= 0) return State::kTurnOver;
    const Fill fill = Collect(left);
    if (count_ > 0 && !Send()) break;
    if (fill == Fill::kBroken) return State::kBroken;
    if (fill == Fill::kLimited) return State::kLimited;
    if (fill == Fill::kEmpty) {
      if (!queue_->queue->EnableNotification()) return State::kWaiting;
      queue_->queue->DisableNotification();
    }
  }
  Add(counters_->tx_full, 1);
  return State::kBlocked;
}

// Takes frames off the queue, as many as make a batch. REQUIRES: the last batch is sent.
NetTransmitter::Fill NetTransmitter::Collect(int& left) {
  num_pieces_ = 0;
  bool dropped = false;
  Fill fill = Fill::kFull;
  while (count_ < frames_.size() && pieces_.size() - num_pieces_ >= kMostPiecesAFrame) {
    wait_ns_ = limiter_.WaitNs();
    if (wait_ns_ > 0) {
      fill = Fill::kLimited;
      break;
    }
    if (left-- <= 0) break;
    auto popped = queue_->queue->Pop();
    if (!popped) {
      error_ = popped.error();
      fill = Fill::kBroken;
      break;
    }
    if (!popped->has_value()) {
      fill = Fill::kEmpty;
      break;
    }
    const std::size_t before = count_;
    Prepare(**std::move(popped));
    dropped = dropped || count_ == before;
  }
  if (dropped) Interrupt();
  return fill;
}

// Makes the chain the batch's next frame, or gives it back where it is none.
void NetTransmitter::Prepare(DescriptorChain chain) {
  Frame& frame = frames_[count_];
  const std::span<const iovec> buffers = chain.readable();
  const std::uint64_t total = IovLength(buffers);
  const bool whole = total >= kHeaderBytes;
  if (whole) CopyFromIov(buffers, 0, std::as_writable_bytes(std::span(&frame.header, 1)));
  frame.bytes = whole ? static_cast<std::size_t>(total - kHeaderBytes) : 0;
  if (!link_ || !whole || !net::CheckTransmitHeader(frame.header, frame.bytes, allowed_) ||
      buffers.size() >= kMostPiecesAFrame) {
    Add(counters_->tx_dropped, 1);
    return std::move(chain).Complete(0);
  }
  const std::size_t first = num_pieces_;
  pieces_[num_pieces_++] = {&frame.header, sizeof frame.header};
  std::size_t skip = kHeaderBytes;
  for (const iovec& segment : buffers) {
    const std::size_t cut = std::min(skip, segment.iov_len);
    skip -= cut;
    if (cut == segment.iov_len) continue;
    pieces_[num_pieces_++] = {static_cast<std::byte*>(segment.iov_base) + cut,
                              segment.iov_len - cut};
  }
  limiter_.Take(frame.bytes);
  frame.chain.emplace(std::move(chain));
  wire_[count_++] = {{pieces_.data() + first, num_pieces_ - first}};
}

bool NetTransmitter::Send() {
  const std::size_t waiting = count_ - sent_;
  if (waiting == 0 && !backend_->unsent()) return true;
  if (!Allowed(permit_)) return false;
  std::size_t failed = 0;
  const std::size_t done = backend_->Transmit(std::span(wire_).subspan(sent_, waiting), failed);
  std::uint64_t bytes = 0;
  queue_->queue->HoldUsed();
  for (std::size_t i = sent_; i < sent_ + done; ++i) {
    bytes += frames_[i].bytes;
    std::move(*frames_[i].chain).Complete(0);
    frames_[i].chain.reset();
  }
  queue_->queue->PublishUsed();
  sent_ += done;
  Add(counters_->tx_packets, done - failed);
  Add(counters_->tx_bytes, failed == 0 ? bytes : 0);
  Add(counters_->tx_errors, failed);
  if (done > 0) Interrupt();
  if (sent_ < count_) return false;
  sent_ = count_ = 0;
  return !backend_->unsent();
}

void NetTransmitter::Interrupt() {
  if (queue_->queue->NeedsInterrupt()) queue_->interrupt->Trigger();
}

}  // namespace gemel::virtio
