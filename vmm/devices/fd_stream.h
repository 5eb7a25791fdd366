// Bytes between a SerialPort and descriptors that it does not own: the mechanics under every serial
// backend.
//
// On the loop's thread, but for Write and WantInput. A descriptor in blocking mode is asked by
// poll(2) before each write, so a terminal shared with others need not be made non-blocking; a
// regular file is read and written as it is. SIGPIPE must be ignored in the process.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/event_fd.h"
#include "base/event_loop.h"
#include "vmm/devices/serial_backend.h"

namespace gemel {

class FdStream {
 public:
  // What an error of the output means: kLost is logged once (a file on a full disk), kHungUp is an
  // ordinary thing (a client that left). Either way the bytes are gone and the guest is not held
  // up.
  enum class OnError : std::uint8_t { kLost, kHungUp };
  struct Fds {
    int in = -1;   // -1: no input
    int out = -1;  // -1: output goes nowhere; may be the same as `in`
  };

  // Watches at once. `on_hang_up`, if given, is called on the loop's thread when the other end is
  // gone and all it sent was read; it may destroy the stream. `loop`, `port` and the descriptors
  // must outlive the stream. `name` is for the log.
  static Result<std::unique_ptr<FdStream>> Create(std::string name, EventLoop* loop, Fds fds,
                                                  SerialPort* port, OnError on_error,
                                                  std::function<void()> on_hang_up);
  ~FdStream();

  // As SerialBackend's.
  std::size_t Write(std::span<const std::byte> bytes);
  void WantInput() const { kick_.Signal(); }
  void WaitForRoom(int timeout_ms) const;

  // Bytes that an error swallowed. Any thread.
  std::uint64_t lost() const { return lost_; }

 private:
  FdStream(std::string name, EventLoop* loop, Fds fds, SerialPort* port, OnError on_error,
           std::function<void()> on_hang_up, EventFd kick);
  Status Start();
  void OnKick();
  void OnOutputEvents(std::uint32_t events);
  void OnInputEvents(std::uint32_t events);
  void OnInput(bool hung_up);
  void ReadUnpollable();
  void UpdateWatches();
  // False if epoll refuses the descriptor.
  bool SetWatch(int fd, bool* watched, std::uint32_t events, bool keep,
                EventLoop::Callback callback);
  bool WritableNow() const;
  std::size_t CountLost(std::size_t bytes, int error);

  const std::string name_;
  EventLoop* const loop_;
  const Fds fds_;
  SerialPort* const port_;
  const OnError on_error_;
  const std::function<void()> on_hang_up_;
  const EventFd kick_;  // from vCPU threads: look again at what is to be watched
  bool out_is_socket_ = false;
  bool out_blocks_ = false;  // the descriptor is in blocking mode and can be polled

  // The loop's thread only.
  bool in_open_ = false;
  bool in_paused_ = false;      // the port had no room
  bool in_unpollable_ = false;  // epoll refuses it: a regular file, /dev/null
  bool in_watched_ = false;
  bool out_watched_ = false;

  std::atomic<bool> out_full_{false};  // Write took less than all; wait for EPOLLOUT
  std::atomic<std::uint64_t> lost_{0};
  bool error_logged_ = false;  // only Write uses it
};

}  // namespace gemel
