// A serial port's other end that outlives whoever looks at it: keeps the last MiB of output, and
// serves it to any number of connections of a listening Unix stream socket.
//
// What a connection says. First 8 bytes, little-endian: the number of the first byte of output that
// it wants (output is numbered from 0). Everything after that is typed. What it gets: 8 bytes,
// little-endian, the number of the first byte that follows; then output, without end. It begins
// later than asked for if that is no longer kept (0: all that is), and never past the newest (~0:
// nothing old).
//
// The guest never waits: output counts as taken at once. A connection that is behind by more than
// what is kept is closed, so that nothing is left out silently; it may come again and sees from the
// first number how much it has missed. Input is read while the port has room; connections that type
// at once are mixed as they come.
#pragma once
#include <atomic>
#include <list>
#include <memory>
#include <string>

#include "base/event_fd.h"
#include "base/event_loop.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "vmm/devices/console_ring.h"
#include "vmm/devices/serial_backend.h"

namespace gemel {

class ConsoleClient;

// Created and destroyed on the loop's thread, the latter when no vCPU runs. `loop` outlives it.
class ConsoleHub final : public SerialBackend {
 public:
  static constexpr std::size_t kKeptBytes = 1 << 20;
  static constexpr std::size_t kMostClients = 64;  // one more is closed at once

  // Takes the listening socket over; whoever made it removes its path. `last`, or none: a file that
  // gets, when the machine ends, what a connection that wants all would (for readers that come
  // later).
  static Result<std::unique_ptr<ConsoleHub>> Create(std::string name, EventLoop* loop,
                                                    UniqueFd listener, UniqueFd last,
                                                    std::size_t kept_bytes = kKeptBytes);
  ~ConsoleHub() override;

  void Connect(SerialPort* port) override;
  std::size_t Write(std::span<const std::byte> bytes) override EXCLUDES(mutex_);
  void WantInput() override;
  void WaitForRoom(int) override {}
  void Deliver(int timeout_ms) override EXCLUDES(mutex_);

  std::size_t clients() const { return clients_.size(); }  // the loop's thread

 private:
  friend class ConsoleClient;

  ConsoleHub(std::string name, EventLoop* loop, UniqueFd listener, UniqueFd last, EventFd kick,
             std::size_t kept_bytes);
  void OnConnection();
  void OnKick();
  void Drop(ConsoleClient* client);
  void SaveLast() EXCLUDES(mutex_);

  const std::string name_;
  EventLoop* const loop_;
  const UniqueFd listener_;
  UniqueFd last_;
  const EventFd kick_;  // from vCPU threads: there is output, or room for input
  SerialPort* port_ = nullptr;
  std::list<std::unique_ptr<ConsoleClient>> clients_;  // the loop's thread only

  std::atomic<bool> kicked_{false};        // kick_ is signalled
  std::atomic<bool> input_wanted_{false};  // by the port, which had no room
  Mutex mutex_;
  ConsoleRing ring_ GUARDED_BY(mutex_);
};

}  // namespace gemel
