#include "vmm/devices/serial_backends.h"

#include "base/log.h"

namespace gemel {

FdBackend::FdBackend(std::string name, EventLoop* loop, UniqueFd in, UniqueFd out)
    : name_(std::move(name)), loop_(loop), in_(std::move(in)), out_(std::move(out)) {}

void FdBackend::Connect(SerialPort* port) {
  auto stream = FdStream::Create(name_, loop_, {in_.get(), out_.get()}, port,
                                 FdStream::OnError::kLost, nullptr);
  if (!stream) {
    LOG_UNLIMITED(kWarning, name_, "not connected: {}", stream.error().message);
    return;
  }
  stream_ = *std::move(stream);
}

std::size_t FdBackend::Write(std::span<const std::byte> bytes) {
  return stream_ ? stream_->Write(bytes) : bytes.size();
}

void FdBackend::WantInput() {
  if (stream_) stream_->WantInput();
}

void FdBackend::WaitForRoom(int timeout_ms) {
  if (stream_) stream_->WaitForRoom(timeout_ms);
}

}  // namespace gemel
