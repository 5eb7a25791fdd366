#include "helpers/slirp/guest_link.h"

#include <sys/socket.h>

#include <cerrno>

namespace gemel::usernet {

GuestLink::Received GuestLink::Receive(std::span<const std::byte>& frame) {
  ssize_t n = 0;
  do {
    n = recv(fd_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_TRUNC);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno == EAGAIN ? Received::kNothing : Received::kClosed;
  if (n == 0) return Received::kClosed;  // frames have bytes
  const auto length = static_cast<std::size_t>(n);
  if (length > kMaxFrameBytes) return Received::kTooLarge;
  frame = std::span(buffer_).first(length);
  return Received::kFrame;
}

void GuestLink::Send(std::span<const std::byte> frame) {
  if (!waiting_.empty()) Flush();
  if (waiting_.empty()) {
    const Sent sent = TrySend(frame);
    if (sent == Sent::kLost) ++dropped_;
    if (sent != Sent::kFull) return;
  }
  if (kMaxWaitingBytes - waiting_bytes_ < frame.size()) {
    ++dropped_;
    return;
  }
  waiting_.emplace_back(frame.begin(), frame.end());
  waiting_bytes_ += frame.size();
}

void GuestLink::Flush() {
  while (!waiting_.empty()) {
    const Sent sent = TrySend(waiting_.front());
    if (sent == Sent::kFull) return;
    if (sent == Sent::kLost) ++dropped_;
    waiting_bytes_ -= waiting_.front().size();
    waiting_.pop_front();
  }
}

GuestLink::Sent GuestLink::TrySend(std::span<const std::byte> frame) const {
  for (;;) {
    if (send(fd_.get(), frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
      return Sent::kDone;
    // ENOBUFS passes as EAGAIN does. What else happens (the end is gone) the next Receive tells.
    if (errno == EAGAIN || errno == ENOBUFS) return Sent::kFull;
    if (errno != EINTR) return Sent::kLost;
  }
}

}  // namespace gemel::usernet
