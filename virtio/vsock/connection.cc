#include "virtio/vsock/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "virtio/queue/virt_queue.h"

namespace gemel::virtio {

VsockConnection::VsockConnection(VsockKey key, const VsockHeader& request,
                                 std::uint32_t buffer_size)
    : key_(key), state_(State::kDialing), credit_(buffer_size) {
  credit_.OnHeader(request);
}

VsockConnection::VsockConnection(VsockKey key, UniqueFd fd, std::uint32_t buffer_size)
    : key_(key),
      state_(State::kRequesting),
      credit_(buffer_size),
      stream_(std::move(fd)),
      open_packet_due_(true) {}

// ---- from the guest -----------------------------------------------------------------------------

VsockConnection::Next VsockConnection::OnPacket(const VsockHeader& header,
                                                std::span<const iovec> chain) {
  const auto op = static_cast<VsockOp>(header.op);
  if (op == VsockOp::kReset) return Next::kForget;
  credit_.OnHeader(header);
  if (state_ == State::kOpen) return OnOpenPacket(header, chain);
  if (state_ != State::kRequesting || op != VsockOp::kResponse) return Next::kReset;

  state_ = State::kOpen;
  open_packet_due_ = false;  // a RESPONSE to a REQUEST that was never sent
  const std::string answer = fmt::format("OK {}\n", key_.host_port);
  stream_->Write(std::as_bytes(std::span(answer)));
  // A socket that has been sent nothing yet has room for this, unless it is gone.
  return stream_->kept() > 0 ? Next::kReset : Next::kGoOn;
}

VsockConnection::Next VsockConnection::OnOpenPacket(const VsockHeader& header,
                                                    std::span<const iovec> chain) {
  switch (static_cast<VsockOp>(header.op)) {
    case VsockOp::kData:
      return OnData(header, chain);
    case VsockOp::kShutdown:
      return OnShutdown(header.flags);
    case VsockOp::kCreditUpdate:
      return Next::kGoOn;
    case VsockOp::kCreditRequest:
      credit_asked_ = true;
      return Next::kGoOn;
    case VsockOp::kInvalid:
    case VsockOp::kRequest:
    case VsockOp::kResponse:
    case VsockOp::kReset:
      break;
  }
  return Next::kReset;
}

VsockConnection::Next VsockConnection::OnData(const VsockHeader& header,
                                              std::span<const iovec> chain) {
  if ((guest_flags_ & kVsockNoSend) != 0 || !credit_.OnReceived(header.length)) return Next::kReset;
  const std::size_t gone = stream_->Write(chain, sizeof header, header.length);
  credit_.OnForwarded(static_cast<std::uint32_t>(gone));
  return Next::kGoOn;
}

VsockConnection::Next VsockConnection::OnShutdown(std::uint32_t flags) {
  guest_flags_ |= flags & kVsockNoMore;  // hints are permanent (5.10.6.6)
  if ((guest_flags_ & kVsockNoSend) != 0) stream_->FinishWriting();
  if (guest_flags_ == kVsockNoMore) return Next::kFinish;
  if ((guest_flags_ & kVsockNoReceive) != 0) stream_->FinishReading();
  return Next::kGoOn;
}

// ---- from the host ------------------------------------------------------------------------------

void VsockConnection::OnDialed(UniqueFd fd) {
  state_ = State::kOpen;
  stream_.emplace(std::move(fd));
  open_packet_due_ = true;
}

VsockConnection::Next VsockConnection::OnHostEvents(std::uint32_t events) {
  stream_->OnEvents(events);
  if (state_ == State::kRequesting) return stream_->refuses() ? Next::kReset : Next::kGoOn;
  credit_.OnForwarded(static_cast<std::uint32_t>(stream_->Flush()));
  return Next::kGoOn;
}

// ---- to the guest -------------------------------------------------------------------------------

std::uint32_t VsockConnection::ShutdownFlags() const {
  return (stream_->ended() ? kVsockNoSend : 0) | (stream_->refuses() ? kVsockNoReceive : 0);
}

bool VsockConnection::CanRead() const { return stream_->readable() && credit_.room_in_guest() > 0; }

bool VsockConnection::HasPacket() const {
  if (open_packet_due_) return true;
  if (state_ != State::kOpen) return false;
  return credit_asked_ || credit_.UpdateDue() || CanRead() || (ShutdownFlags() & ~told_) != 0;
}

bool VsockConnection::MakePacket(VsockHeader& header, std::span<const iovec> chain) {
  VsockOp op = VsockOp::kInvalid;
  if (std::exchange(open_packet_due_, false)) {
    op = state_ == State::kRequesting ? VsockOp::kRequest : VsockOp::kResponse;
  } else if (state_ != State::kOpen) {
    return false;
  } else {
    header.length = CanRead() ? ReadInto(chain) : 0;
    const std::uint32_t flags = ShutdownFlags();
    if (header.length > 0) {
      op = VsockOp::kData;
    } else if ((flags & ~told_) != 0) {
      op = VsockOp::kShutdown;
      header.flags = told_ = told_ | flags;
    } else if (credit_asked_ || credit_.UpdateDue()) {
      op = VsockOp::kCreditUpdate;
    } else {
      return false;
    }
  }
  credit_asked_ = false;
  header.op = static_cast<std::uint16_t>(op);
  credit_.Stamp(header);
  return true;
}

std::uint32_t VsockConnection::ReadInto(std::span<const iovec> chain) {
  std::array<iovec, 128> room;
  const std::uint32_t limit = std::min(credit_.room_in_guest(), kMaxVsockPayload);
  const std::size_t used = CutIov(chain, sizeof(VsockHeader), limit, room);
  const auto n = static_cast<std::uint32_t>(stream_->Read(std::span(room).first(used)));
  credit_.OnSent(n);
  return n;
}

}  // namespace gemel::virtio
