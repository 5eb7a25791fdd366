#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "vmm/devices/serial_backends.h"

namespace gemel {

SocketBackend::SocketBackend(std::string name, EventLoop* loop, UniqueFd listener)
    : name_(std::move(name)), loop_(loop), listener_(std::move(listener)) {}

SocketBackend::~SocketBackend() { loop_->Unwatch(listener_.get()); }

void SocketBackend::Connect(SerialPort* port) {
  port_ = port;
  const Status watched =
      loop_->Watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { OnConnection(); });
  if (!watched) LOG_UNLIMITED(kWarning, name_, "not connected: {}", watched.error().message);
}

std::size_t SocketBackend::Write(std::span<const std::byte> bytes) {
  MutexLock lock(mutex_);
  return stream_ ? stream_->Write(bytes) : bytes.size();
}

void SocketBackend::WantInput() {
  MutexLock lock(mutex_);
  if (stream_) stream_->WantInput();
}

void SocketBackend::WaitForRoom(int timeout_ms) {
  pollfd poll_out{client_.get(), POLLOUT, 0};
  poll(&poll_out, 1, timeout_ms);
}

void SocketBackend::OnConnection() {
  UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!client) {
    if (errno != EMFILE && errno != ENFILE) return;  // it left again
    LOG(kWarning, name_, "no more clients: {}", std::strerror(errno));
    loop_->Unwatch(listener_.get());  // or the loop would spin
    return;
  }
  if (client_ && !ClientGone()) return;  // closes the new one
  if (client_) DropClient();
  auto stream = FdStream::Create(name_, loop_, {client.get(), client.get()}, port_,
                                 FdStream::OnError::kHungUp, [this] { DropClient(); });
  if (!stream) {
    LOG(kWarning, name_, "client refused: {}", stream.error().message);
    return;
  }
  client_ = std::move(client);
  MutexLock lock(mutex_);
  stream_ = *std::move(stream);
}

// A client that left while its last input waits for the guest is not noticed by the loop.
bool SocketBackend::ClientGone() const {
  pollfd poll_hup{client_.get(), 0, 0};
  return poll(&poll_hup, 1, 0) == 1;
}

void SocketBackend::DropClient() {
  std::unique_ptr<FdStream> gone;
  {
    MutexLock lock(mutex_);
    gone = std::move(stream_);
  }
  gone.reset();  // before its descriptor is closed
  client_.Reset();
  port_->OutputReady();
}

}  // namespace gemel
