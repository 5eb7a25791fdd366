// The things a serial port can be plugged into: a pair of descriptors, a pseudo-terminal, a Unix
// socket.
//
// Created on the main loop's thread, and destroyed there when no vCPU runs. `loop` must outlive
// them.
#pragma once
#include <memory>
#include <string>

#include "base/event_fd.h"
#include "base/event_loop.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "vmm/devices/fd_stream.h"
#include "vmm/devices/serial_backend.h"

namespace gemel {

// Standard input and output, or a log file (no `in`). The end of the input is the end of typing, no
// more. A reader that stops reading holds the guest's output up; an error of the output (full disk,
// closed pipe) loses it instead, logged once until a write succeeds again.
class FdBackend final : public SerialBackend {
 public:
  // Takes the descriptors over; either may be empty. Non-blocking ones are the better ones. A file
  // is best opened with O_APPEND.
  FdBackend(std::string name, EventLoop* loop, UniqueFd in, UniqueFd out);

  void Connect(SerialPort* port) override;
  std::size_t Write(std::span<const std::byte> bytes) override;
  void WantInput() override;
  void WaitForRoom(int timeout_ms) override;
  std::uint64_t lost() const { return stream_ ? stream_->lost() : 0; }

 private:
  const std::string name_;
  EventLoop* const loop_;
  const UniqueFd in_;
  const UniqueFd out_;
  std::unique_ptr<FdStream> stream_;  // constant after Connect
};

// A pseudo-terminal whose other end people open and close as they like. While nobody has it open,
// output is dropped; who opens it sees what comes from then on. In raw mode.
class PtyBackend final : public SerialBackend {
 public:
  // Takes over the master's end (posix_openpt).
  static Result<std::unique_ptr<PtyBackend>> Create(EventLoop* loop, UniqueFd master);
  ~PtyBackend() override;

  // "/dev/pts/7".
  const std::string& path() const { return path_; }

  void Connect(SerialPort* port) override;
  std::size_t Write(std::span<const std::byte> bytes) override EXCLUDES(mutex_);
  void WantInput() override EXCLUDES(mutex_);
  void WaitForRoom(int timeout_ms) override;

 private:
  PtyBackend(EventLoop* loop, UniqueFd master, std::string path, EventFd kick);
  bool HungUp() const;
  void AttachIfOpen() EXCLUDES(mutex_);
  void Detach() EXCLUDES(mutex_);
  void WatchForOpen();

  EventLoop* const loop_;
  const UniqueFd master_;
  const std::string path_;
  const EventFd kick_;  // Write saw that somebody has opened it
  SerialPort* port_ = nullptr;
  bool waiting_ = false;  // for somebody to open it; the loop's thread only

  Mutex mutex_;
  std::unique_ptr<FdStream> stream_ GUARDED_BY(mutex_);  // while somebody has it open
};

// A listening Unix stream socket. One client at a time: another is let in only to be closed at
// once, so that nobody's console is taken from under them. Without a client output is dropped; a
// client that does not read holds the guest's output up.
class SocketBackend final : public SerialBackend {
 public:
  // Takes the listening socket over. Whoever made it removes its path.
  SocketBackend(std::string name, EventLoop* loop, UniqueFd listener);
  ~SocketBackend() override;

  void Connect(SerialPort* port) override;
  std::size_t Write(std::span<const std::byte> bytes) override EXCLUDES(mutex_);
  void WantInput() override EXCLUDES(mutex_);
  void WaitForRoom(int timeout_ms) override;

 private:
  void OnConnection();
  bool ClientGone() const;
  void DropClient() EXCLUDES(mutex_);

  const std::string name_;
  EventLoop* const loop_;
  const UniqueFd listener_;
  SerialPort* port_ = nullptr;
  UniqueFd client_;  // the loop's thread only; closed after stream_ is gone

  Mutex mutex_;
  std::unique_ptr<FdStream> stream_ GUARDED_BY(mutex_);  // over client_
};

}  // namespace gemel
