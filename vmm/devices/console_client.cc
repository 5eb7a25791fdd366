#include "vmm/devices/console_client.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/load_le.h"

namespace gemel {
namespace {

constexpr std::size_t kSendBytes = 16 << 10;
constexpr int kSendsATurn = 16;  // then the others, and the loop, have theirs

bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

}  // namespace

ConsoleClient::~ConsoleClient() {
  if (watched_) hub_->loop_->Unwatch(socket_.get());
}

Status ConsoleClient::Watch() {
  RETURN_IF_ERROR(hub_->loop_->Watch(socket_.get(), EPOLLIN,
                                     [this](std::uint32_t events) { OnEvents(events); }));
  watched_ = true;
  return {};
}

// The last thing a callback does: this may be gone afterwards.
void ConsoleClient::OnEvents(std::uint32_t events) {
  Verdict verdict = Verdict::kStay;
  const bool gone = (events & (EPOLLHUP | EPOLLERR)) != 0;
  if (input_open_ && !input_paused_ && (gone || (events & EPOLLIN) != 0)) verdict = Read();
  // Nothing tells of the rest again.
  while (gone && verdict == Verdict::kStay && input_open_ && !input_paused_) verdict = Read();
  if (verdict == Verdict::kStay && out_full_ && (events & EPOLLOUT) != 0) verdict = Send();
  // What it typed last is still to be typed, and nothing else about it matters any more.
  if (verdict == Verdict::kStay && gone && !(input_open_ && input_paused_))
    verdict = Verdict::kLeave;
  if (verdict == Verdict::kStay && gone) {
    hub_->loop_->Unwatch(socket_.get());
    watched_ = false;
    return;
  }
  if (verdict == Verdict::kStay) verdict = UpdateWatch();
  if (verdict == Verdict::kLeave) hub_->Drop(this);
}

ConsoleClient::Verdict ConsoleClient::UpdateWatch() {
  if (!watched_) return Verdict::kStay;
  std::uint32_t events = 0;
  if (input_open_ && !input_paused_) events |= EPOLLIN;
  if (out_full_) events |= EPOLLOUT;
  return hub_->loop_->Modify(socket_.get(), events) ? Verdict::kStay : Verdict::kLeave;
}

// ---- what it says -------------------------------------------------------------------------------

ConsoleClient::Verdict ConsoleClient::Read() { return begun_ ? ReadInput() : ReadRequest(); }

ConsoleClient::Verdict ConsoleClient::ReadRequest() {
  const ssize_t n =
      read(socket_.get(), header_.data() + request_size_, header_.size() - request_size_);
  if (n < 0) return WouldBlock(errno) || errno == EINTR ? Verdict::kStay : Verdict::kLeave;
  if (n == 0) return Verdict::kLeave;
  request_size_ += static_cast<std::size_t>(n);
  if (request_size_ < header_.size()) return Verdict::kStay;
  Begin();
  return Send();
}

void ConsoleClient::Begin() {
  const std::uint64_t wanted = LoadLe64(header_);
  {
    const MutexLock lock(hub_->mutex_);
    next_ = std::clamp(wanted, hub_->ring_.begin(), hub_->ring_.end());
  }
  StoreLe(std::span(header_), 0, next_);
  header_left_ = header_.size();
  begun_ = true;
}

ConsoleClient::Verdict ConsoleClient::ReadInput() {
  std::array<std::byte, 64> buffer;
  const std::size_t room = std::min(hub_->port_->RoomForInput(), buffer.size());
  if (room == 0) {
    input_paused_ = true;
    return Verdict::kStay;
  }
  const ssize_t n = read(socket_.get(), buffer.data(), room);
  if (n > 0) hub_->port_->Receive(std::span(buffer).first(static_cast<std::size_t>(n)));
  if (n == 0) input_open_ = false;  // it may still want to read
  if (n < 0 && !WouldBlock(errno) && errno != EINTR) return Verdict::kLeave;
  return Verdict::kStay;
}

ConsoleClient::Verdict ConsoleClient::ResumeInput() {
  if (!input_paused_) return Verdict::kStay;
  input_paused_ = false;
  if (watched_) return UpdateWatch();
  // It has hung up: the rest of what it typed, and then no more of it.
  while (input_open_ && !input_paused_)
    if (ReadInput() == Verdict::kLeave) return Verdict::kLeave;
  return input_paused_ ? Verdict::kStay : Verdict::kLeave;
}

// ---- what it gets -------------------------------------------------------------------------------

ConsoleClient::Verdict ConsoleClient::Send() {
  out_full_ = false;
  if (!begun_ || !watched_) return Verdict::kStay;
  bool more = true;
  for (int i = 0; more && i < kSendsATurn; ++i)
    if (SendSome(&more) == Verdict::kLeave) return Verdict::kLeave;
  out_full_ = out_full_ || more;
  return UpdateWatch();
}

ConsoleClient::Verdict ConsoleClient::SendSome(bool* more) {
  std::array<std::byte, kSendBytes> buffer;
  std::span<const std::byte> bytes;
  if (header_left_ > 0) {
    bytes = std::span(header_).last(header_left_);
  } else {
    const MutexLock lock(hub_->mutex_);
    if (next_ < hub_->ring_.begin()) return Verdict::kLeave;  // fell behind
    bytes = std::span(buffer).first(hub_->ring_.Copy(next_, buffer));
  }
  *more = false;
  if (bytes.empty()) return Verdict::kStay;
  const ssize_t n = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0 && !WouldBlock(errno) && errno != EINTR) return Verdict::kLeave;
  const std::size_t sent = n > 0 ? static_cast<std::size_t>(n) : 0;
  if (header_left_ > 0)
    header_left_ -= sent;
  else
    next_ += sent;
  out_full_ = sent < bytes.size();
  *more = !out_full_;
  return Verdict::kStay;
}

}  // namespace gemel
