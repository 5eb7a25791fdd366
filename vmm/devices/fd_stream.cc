#include "vmm/devices/fd_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace gemel {
namespace {

// What POLLOUT promises on a pipe or terminal in blocking mode.
constexpr std::size_t kPolledWriteBytes = 256;

}  // namespace

Result<std::unique_ptr<FdStream>> FdStream::Create(std::string name, EventLoop* loop, Fds fds,
                                                   SerialPort* port, OnError on_error,
                                                   std::function<void()> on_hang_up) {
  ASSIGN_OR_RETURN(EventFd kick, EventFd::Create());
  std::unique_ptr<FdStream> stream(new FdStream(std::move(name), loop, fds, port, on_error,
                                                std::move(on_hang_up), std::move(kick)));
  RETURN_IF_ERROR(stream->Start());
  return stream;
}

FdStream::FdStream(std::string name, EventLoop* loop, Fds fds, SerialPort* port, OnError on_error,
                   std::function<void()> on_hang_up, EventFd kick)
    : name_(std::move(name)),
      loop_(loop),
      fds_(fds),
      port_(port),
      on_error_(on_error),
      on_hang_up_(std::move(on_hang_up)),
      kick_(std::move(kick)) {}

FdStream::~FdStream() {
  loop_->Unwatch(kick_.get());
  if (in_watched_) loop_->Unwatch(fds_.in);
  if (out_watched_) loop_->Unwatch(fds_.out);
}

Status FdStream::Start() {
  struct stat info{};
  if (fds_.out >= 0) {
    if (fstat(fds_.out, &info) != 0) return ErrnoError(errno, name_);
    out_is_socket_ = S_ISSOCK(info.st_mode);
    const int flags = fcntl(fds_.out, F_GETFL);
    out_blocks_ = !out_is_socket_ && !S_ISREG(info.st_mode) && (flags & O_NONBLOCK) == 0;
  }
  RETURN_IF_ERROR(loop_->Watch(kick_.get(), EPOLLIN, [this](std::uint32_t) { OnKick(); }));
  in_open_ = fds_.in >= 0;
  UpdateWatches();
  // Not from here: the port is only being connected.
  if (in_unpollable_) kick_.Signal();
  return {};
}

std::size_t FdStream::Write(std::span<const std::byte> bytes) {
  if (fds_.out < 0) return bytes.size();
  std::size_t taken = 0;
  while (taken < bytes.size()) {
    std::span<const std::byte> rest = bytes.subspan(taken);
    if (out_blocks_) rest = rest.first(std::min(rest.size(), kPolledWriteBytes));
    if (out_blocks_ && !WritableNow()) break;
    const ssize_t n = out_is_socket_
                          ? send(fds_.out, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT)
                          : write(fds_.out, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (n <= 0) return taken + CountLost(rest.size(), n < 0 ? errno : ENOSPC);
    error_logged_ = false;
    taken += static_cast<std::size_t>(n);
  }
  if (taken < bytes.size()) {
    out_full_ = true;
    kick_.Signal();
  }
  return taken;
}

bool FdStream::WritableNow() const {
  pollfd poll_out{fds_.out, POLLOUT, 0};
  return poll(&poll_out, 1, 0) == 1;  // also for errors, which the write will tell
}

std::size_t FdStream::CountLost(std::size_t bytes, int error) {
  lost_ += bytes;
  if (on_error_ == OnError::kLost && !error_logged_) {
    LOG(kWarning, name_, "output is lost: {}", std::strerror(error));
    error_logged_ = true;
  }
  return bytes;
}

void FdStream::WaitForRoom(int timeout_ms) const {
  pollfd poll_out{fds_.out, POLLOUT, 0};
  poll(&poll_out, 1, timeout_ms);
}

void FdStream::OnKick() {
  kick_.Drain();
  in_paused_ = false;
  UpdateWatches();
  if (in_unpollable_) ReadUnpollable();
}

void FdStream::UpdateWatches() {
  const std::uint32_t in = in_open_ && !in_paused_ && !in_unpollable_ ? EPOLLIN : 0u;
  const std::uint32_t out = out_full_ ? EPOLLOUT : 0u;
  if (fds_.in == fds_.out) {
    // Half-closed by the other end: stay for the news that it has gone altogether.
    const bool keep = !in_open_ && on_hang_up_ != nullptr;
    SetWatch(fds_.in, &in_watched_, in | out, keep, [this](std::uint32_t events) {
      OnOutputEvents(events);
      OnInputEvents(events);
    });
    return;
  }
  if (!SetWatch(fds_.in, &in_watched_, in, false,
                [this](std::uint32_t events) { OnInputEvents(events); }))
    in_unpollable_ = true;
  SetWatch(fds_.out, &out_watched_, out, false,
           [this](std::uint32_t events) { OnOutputEvents(events); });
}

// A descriptor that waits for nothing is not watched at all: epoll would report a hang-up over and
// over.
bool FdStream::SetWatch(int fd, bool* watched, std::uint32_t events, bool keep,
                        EventLoop::Callback callback) {
  if (events == 0 && !keep) {
    if (std::exchange(*watched, false)) loop_->Unwatch(fd);
    return true;
  }
  if (*watched) return loop_->Modify(fd, events).has_value();
  *watched = loop_->Watch(fd, events, std::move(callback)).has_value();
  return *watched;
}

void FdStream::OnOutputEvents(std::uint32_t events) {
  if (!out_full_ || (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) == 0) return;
  out_full_ = false;
  UpdateWatches();
  port_->OutputReady();
}

// The last thing a callback does: this may be gone afterwards.
void FdStream::OnInputEvents(std::uint32_t events) {
  const bool hung_up = (events & (EPOLLHUP | EPOLLERR)) != 0;
  if (in_open_) {
    if (!in_paused_ && (hung_up || (events & EPOLLIN) != 0)) OnInput(hung_up);
    return;
  }
  if (hung_up && on_hang_up_) on_hang_up_();
}

void FdStream::OnInput(bool hung_up) {
  std::array<std::byte, 64> buffer;
  const std::size_t room = std::min(port_->RoomForInput(), buffer.size());
  if (room == 0) {
    in_paused_ = true;
    UpdateWatches();
    return;
  }
  const ssize_t n = read(fds_.in, buffer.data(), room);
  if (n > 0) {
    port_->Receive(std::span(buffer).first(static_cast<std::size_t>(n)));
    return;
  }
  if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)) return;
  in_open_ = false;
  UpdateWatches();
  if (hung_up && on_hang_up_) on_hang_up_();
}

void FdStream::ReadUnpollable() {
  while (in_open_ && !in_paused_) OnInput(false);
}

}  // namespace gemel
