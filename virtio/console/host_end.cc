#include "virtio/console/host_end.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace gemel::virtio {
namespace {

constexpr int kCallersATurn = 16;

bool HungUp(int fd) {
  pollfd poll_fd{fd, 0, 0};
  return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLHUP | POLLERR)) != 0;
}

bool IsAgain(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

void SetNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags >= 0) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

}  // namespace

void HostEnd::Watch(EventLoop* loop, std::function<void()> changed) {
  loop_ = loop;
  changed_ = std::move(changed);
  if (!fds_.listener) {
    if (fds_.in) SetNonBlocking(fds_.in.get());
    if (fds_.out) SetNonBlocking(fds_.out.get());
    return Adopt(fds_.in.get(), fds_.out.get());
  }
  const Status watched =
      loop_->Watch(fds_.listener.get(), EPOLLIN, [this](std::uint32_t) { OnClient(); });
  if (!watched) LOG_UNLIMITED(kWarning, name_, "not listening: {}", watched.error().message);
}

// A second client is let in to be told at once, by being closed, that there is one.
void HostEnd::OnClient() {
  for (int i = 0; i < kCallersATurn; ++i) {
    UniqueFd client(accept4(fds_.listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client) {
      if (errno != EMFILE && errno != ENFILE) return;
      LOG(kWarning, name_, "no more clients: {}", std::strerror(errno));
      return loop_->Unwatch(fds_.listener.get());  // or the loop would spin
    }
    if (client_ && HungUp(client_.get())) Drop();
    if (client_) continue;
    client_ = std::move(client);
    Adopt(client_.get(), client_.get());
    changed_();
  }
}

// Edge-triggered: a port that waits for the guest must not wake us.
bool HostEnd::WatchFd(int fd, std::uint32_t events) {
  return loop_->Watch(fd, events | EPOLLET, [this](std::uint32_t e) { OnEvents(e); }).has_value();
}

void HostEnd::Adopt(int in, int out) {
  in_ = in;
  out_ = out;
  readable_ = writable_ = true;
  hung_up_ = false;
  ++client_number_;
  const bool watched =
      in == out ? in < 0 || WatchFd(in, EPOLLIN | EPOLLOUT | EPOLLRDHUP)
                : (in < 0 || WatchFd(in, EPOLLIN)) && (out < 0 || WatchFd(out, EPOLLOUT));
  // A regular file or /dev/null: epoll refuses it, and it needs no waiting for.
  if (!watched) LOG(kDebug, name_, "its descriptors cannot be waited for");
}

void HostEnd::OnEvents(std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable_ = true;
  if (client_ && (events & (EPOLLHUP | EPOLLERR)) != 0) hung_up_ = HungUp(client_.get());
  changed_();
}

std::size_t HostEnd::Read(std::span<const iovec> to) {
  if (!readable() || to.empty()) return 0;
  const ssize_t n = readv(in_, to.data(), static_cast<int>(to.size()));
  if (n > 0) return static_cast<std::size_t>(n);
  readable_ = n < 0 && errno == EINTR;
  if (n < 0 && IsAgain(errno)) return 0;
  // The end of what it sends. A client that has only finished writing still reads.
  if (client_ && (hung_up_ || HungUp(client_.get()))) {
    Drop();
  } else if (!client_) {
    if (in_ != out_) loop_->Unwatch(in_);
    in_ = -1;
  }
  return 0;
}

std::size_t HostEnd::Write(std::span<const iovec> from) {
  std::size_t wanted = 0;
  for (const iovec& part : from) wanted += part.iov_len;
  if (out_ < 0 || wanted == 0) return wanted;
  if (!writable_) return 0;
  // SIGPIPE is ignored in this process.
  const ssize_t n = writev(out_, from.data(), static_cast<int>(from.size()));
  if (n >= 0) return static_cast<std::size_t>(n);
  writable_ = errno == EINTR;
  if (IsAgain(errno)) return 0;
  if (client_) {
    Drop();
  } else {
    if (in_ != out_) loop_->Unwatch(out_);
    out_ = -1;
  }
  return wanted;
}

void HostEnd::DropIfGone() {
  if (client_ && hung_up_) Drop();
}

void HostEnd::Drop() {
  loop_->Unwatch(client_.get());
  client_.Reset();
  in_ = out_ = -1;
  readable_ = writable_ = hung_up_ = false;
}

}  // namespace gemel::virtio
