#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <cerrno>

#include "base/file_util.h"
#include "base/log.h"
#include "vmm/devices/serial_backends.h"

// How one end of a pty learns of the other: poll(2) on the master reports POLLHUP from the last
// close of the slave until the next open, and closing wakes it, but opening does not. So while
// nobody is there each flush of output asks poll, and an edge-triggered watch waits for the first
// byte typed.
namespace gemel {
namespace {

Status MakeRaw(int fd) {
  termios settings{};
  if (tcgetattr(fd, &settings) != 0) return ErrnoError(errno, "tcgetattr of a pty");
  cfmakeraw(&settings);
  // On the master this sets the slave's, which has them for as long as the master is open.
  if (tcsetattr(fd, TCSANOW, &settings) != 0) return ErrnoError(errno, "tcsetattr of a pty");
  return {};
}

}  // namespace

Result<std::unique_ptr<PtyBackend>> PtyBackend::Create(EventLoop* loop, UniqueFd master) {
  const int flags = fcntl(master.get(), F_GETFL);
  if (flags < 0 || fcntl(master.get(), F_SETFL, flags | O_NONBLOCK) != 0)
    return ErrnoError(errno, "make a pty non-blocking");
  char path[64];
  if (unlockpt(master.get()) != 0 || ptsname_r(master.get(), path, sizeof path) != 0)
    return ErrnoError(errno, "make a pty");
  RETURN_IF_ERROR(MakeRaw(master.get()));
  // A slave that was never open does not count as hung up.
  ASSIGN_OR_RETURN(UniqueFd slave, OpenFile(path, O_RDWR | O_NOCTTY));
  slave.Reset();
  ASSIGN_OR_RETURN(EventFd kick, EventFd::Create());
  return std::unique_ptr<PtyBackend>(
      new PtyBackend(loop, std::move(master), path, std::move(kick)));
}

PtyBackend::PtyBackend(EventLoop* loop, UniqueFd master, std::string path, EventFd kick)
    : loop_(loop), master_(std::move(master)), path_(std::move(path)), kick_(std::move(kick)) {}

PtyBackend::~PtyBackend() {
  loop_->Unwatch(kick_.get());
  if (waiting_) loop_->Unwatch(master_.get());
}

void PtyBackend::Connect(SerialPort* port) {
  port_ = port;
  const Status watched = loop_->Watch(kick_.get(), EPOLLIN, [this](std::uint32_t) {
    kick_.Drain();
    AttachIfOpen();
  });
  if (!watched) LOG_UNLIMITED(kWarning, path_, "not connected: {}", watched.error().message);
  WatchForOpen();
}

std::size_t PtyBackend::Write(std::span<const std::byte> bytes) {
  MutexLock lock(mutex_);
  if (stream_) return stream_->Write(bytes);
  if (HungUp()) return bytes.size();
  kick_.Signal();
  return 0;  // AttachIfOpen says OutputReady
}

void PtyBackend::WantInput() {
  MutexLock lock(mutex_);
  if (stream_) stream_->WantInput();
}

void PtyBackend::WaitForRoom(int timeout_ms) {
  pollfd poll_out{master_.get(), POLLOUT, 0};
  poll(&poll_out, 1, timeout_ms);
}

bool PtyBackend::HungUp() const {
  pollfd poll_hup{master_.get(), 0, 0};
  return poll(&poll_hup, 1, 0) == 1 && (poll_hup.revents & POLLHUP) != 0;
}

void PtyBackend::AttachIfOpen() {
  if (waiting_ && !HungUp()) {
    loop_->Unwatch(master_.get());
    waiting_ = false;
    auto stream = FdStream::Create(path_, loop_, {master_.get(), master_.get()}, port_,
                                   FdStream::OnError::kHungUp, [this] { Detach(); });
    if (stream) {
      MutexLock lock(mutex_);
      stream_ = *std::move(stream);
    } else {
      LOG(kWarning, path_, "not connected: {}", stream.error().message);
      WatchForOpen();
    }
  }
  port_->OutputReady();
}

void PtyBackend::Detach() {
  std::unique_ptr<FdStream> gone;
  {
    MutexLock lock(mutex_);
    gone = std::move(stream_);
  }
  gone.reset();  // before the descriptor is watched again
  WatchForOpen();
  port_->OutputReady();
}

void PtyBackend::WatchForOpen() {
  waiting_ = true;
  const Status watched = loop_->Watch(master_.get(), EPOLLIN | EPOLLET, [this](std::uint32_t) {
    if (!HungUp()) AttachIfOpen();
  });
  if (!watched) LOG(kWarning, path_, "cannot be watched: {}", watched.error().message);
}

}  // namespace gemel
