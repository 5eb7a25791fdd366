#include "virtio/vsock/host_stream.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "virtio/queue/virt_queue.h"

namespace gemel::virtio {
namespace {

bool HungUp(int fd) {
  pollfd poll_fd{fd, 0, 0};
  return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLHUP | POLLERR)) != 0;
}

}  // namespace

void HostStream::OnEvents(std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable_ = true;
  // Once both sides have ended their writing a hang-up says no more than that.
  if ((events & (EPOLLHUP | EPOLLERR)) != 0 && !write_end_told_ && HungUp(fd_.get()))
    refuses_ = true;
}

std::size_t HostStream::Send(std::span<iovec> iov) {
  msghdr message{};
  message.msg_iov = iov.data();
  message.msg_iovlen = iov.size();
  ssize_t n = -1;
  do {
    n = sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) return static_cast<std::size_t>(n);
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
    writable_ = false;
  } else {
    refuses_ = true;
  }
  return 0;
}

std::size_t HostStream::Write(std::span<const iovec> from, std::size_t skip, std::size_t length) {
  std::array<iovec, 128> cut;
  std::size_t done = 0;
  while (kept() == 0 && done < length && writable_ && !refuses_)
    done += Send(std::span(cut).first(CutIov(from, skip + done, length - done, cut)));
  if (refuses_) return length + DropKept();
  if (done < length) Keep(from, skip + done, length - done);
  return done;
}

std::size_t HostStream::Write(std::span<const std::byte> bytes) {
  // Only ever read.
  const iovec iov{const_cast<std::byte*>(bytes.data()), bytes.size()};
  return Write({&iov, 1}, 0, bytes.size());
}

void HostStream::Keep(std::span<const iovec> from, std::size_t skip, std::size_t length) {
  if (kept_start_ > 0) {
    kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(kept_start_));
    kept_start_ = 0;
  }
  const std::size_t before = kept_.size();
  kept_.resize(before + length);
  CopyFromIov(from, skip, std::span(kept_).subspan(before));
}

std::size_t HostStream::Flush() {
  std::size_t done = 0;
  while (kept() > 0 && writable_ && !refuses_) {
    iovec rest{kept_.data() + kept_start_, kept()};
    const std::size_t n = Send({&rest, 1});
    kept_start_ += n;
    done += n;
  }
  if (refuses_) return done + DropKept();
  if (kept() == 0) DropKept();
  FinishWritingIfFlushed();
  return done;
}

std::size_t HostStream::DropKept() {
  const std::size_t dropped = kept();
  kept_ = {};
  kept_start_ = 0;
  return dropped;
}

void HostStream::FinishWriting() {
  finish_writing_ = true;
  FinishWritingIfFlushed();
}

void HostStream::FinishWritingIfFlushed() {
  if (!finish_writing_ || kept() > 0 || std::exchange(write_end_told_, true)) return;
  shutdown(fd_.get(), SHUT_WR);
}

std::size_t HostStream::Read(std::span<iovec> to) {
  if (!readable()) return 0;
  msghdr message{};
  message.msg_iov = to.data();
  message.msg_iovlen = to.size();
  ssize_t n = -1;
  do {
    n = recvmsg(fd_.get(), &message, MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n > 0) return static_cast<std::size_t>(n);
  readable_ = false;
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
  ended_ = true;  // the end, or a reset after which nothing can be read
  return 0;
}

void HostStream::FinishReading() {
  ended_ = true;
  readable_ = false;
  shutdown(fd_.get(), SHUT_RD);
}

}  // namespace gemel::virtio
