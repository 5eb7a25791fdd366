// A network's other end in memory: a test pushes frames in, takes sent ones out, and decides how much
// room there is.
//
// The backend's side belongs to the device's worker; the members for tests are for any thread.
#pragma once
#include <sys/epoll.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/event_fd.h"
#include "net/frame_header.h"
#include "net/net_backend.h"

namespace gemel::testing {

class FakeNetBackend : public net::NetBackend {
 public:
  static constexpr net::Offloads kAll =
      net::kChecksum | net::kTso4 | net::kTso6 | net::kTsoEcn | net::kUfo | net::kUso;

  struct Frame {
    net::FrameHeader header{};
    std::vector<std::byte> bytes;
  };

  explicit FakeNetBackend(net::Offloads offloads = kAll)
      : offloads_(offloads), event_(MakeEvent()) {}

  // ---- for tests
  void Push(std::vector<std::byte> bytes, net::FrameHeader header = {}) {
    const std::lock_guard lock(mutex_);
    incoming_.push_back({header, std::move(bytes)});
    event_.Signal();
  }
  void HangUp() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    event_.Signal();
  }
  // Whether somebody is at the other end, from now on.
  void SetConnected(bool connected) {
    const std::lock_guard lock(mutex_);
    connected_ = connected;
    event_.Signal();
  }
  // Forgets what was not received, and what was sent. REQUIRES: the device rests.
  void Clear() {
    const std::lock_guard lock(mutex_);
    incoming_.clear();
    sent_.clear();
  }
  // How many more frames may be sent; they wait then.
  void SetRoom(std::size_t frames) {
    const std::lock_guard lock(mutex_);
    room_ = frames;
    event_.Signal();
  }
  // Waits until `count` frames were sent in all; false after 10 s.
  bool WaitForSent(std::size_t count) {
    return Wait([&] { return sent_.size() >= count; });
  }
  // Waits until all that was pushed is received; false after 10 s.
  bool WaitForDrained() {
    return Wait([&] { return incoming_.empty(); });
  }
  bool WaitForActive(bool active) {
    return Wait([&] { return active_ == active; });
  }
  bool WaitForLink(bool up) {
    return Wait([&] { return link_ == up; });
  }
  bool WaitForReceiveOffloads(net::Offloads offloads) {
    return Wait([&] { return receive_offloads_ == offloads; });
  }
  std::vector<Frame> sent() const {
    const std::lock_guard lock(mutex_);
    return sent_;
  }

  // ---- the backend
  std::string_view engine() const override { return "fake"; }
  net::Offloads offloads() const override { return offloads_; }
  Status SetReceiveOffloads(net::Offloads wanted) override {
    const std::lock_guard lock(mutex_);
    CHECK((wanted & ~offloads_) == 0);
    receive_offloads_ = wanted;
    changed_.notify_all();
    return {};
  }
  Status SetActive(bool active) override {
    const std::lock_guard lock(mutex_);
    active_ = active;
    changed_.notify_all();
    return {};
  }
  void SetLink(bool up) override {
    const std::lock_guard lock(mutex_);
    link_ = up;
    changed_.notify_all();
  }
  int fd() const override { return event_.get(); }
  // An event descriptor is always writable: whatever is waited for, it is its counter.
  std::uint32_t Interest(bool receive, bool transmit) override {
    return receive || transmit ? EPOLLIN : 0u;
  }
  bool connected() const override {
    const std::lock_guard lock(mutex_);
    return connected_ && !closed_;
  }
  std::expected<std::size_t, net::NetError> Receive(std::span<const iovec> into) override {
    const std::lock_guard lock(mutex_);
    CHECK(into[0].iov_len == net::kHeaderBytes);
    if (incoming_.empty()) {
      event_.Drain();
      changed_.notify_all();
      return std::unexpected(closed_ ? net::NetError::kClosed : net::NetError::kWouldBlock);
    }
    const Frame frame = std::move(incoming_.front());
    incoming_.pop_front();
    std::memcpy(into[0].iov_base, &frame.header, sizeof frame.header);
    std::size_t done = 0;
    for (const iovec& piece : into.subspan(1)) {
      const std::size_t n = std::min(piece.iov_len, frame.bytes.size() - done);
      if (n > 0) std::memcpy(piece.iov_base, frame.bytes.data() + done, n);
      done += n;
    }
    changed_.notify_all();
    return done;
  }
  std::size_t Transmit(std::span<const net::NetFrame> frames, std::size_t&) override {
    const std::lock_guard lock(mutex_);
    CHECK(frames.size() <= net::kMaxBatch);
    std::size_t done = 0;
    for (; done < frames.size() && room_ > 0; ++done, --room_) {
      Frame frame;
      CHECK(frames[done].iov[0].iov_len == sizeof frame.header);
      std::memcpy(&frame.header, frames[done].iov[0].iov_base, sizeof frame.header);
      for (const iovec& piece : frames[done].iov.subspan(1)) {
        const auto* at = static_cast<const std::byte*>(piece.iov_base);
        frame.bytes.insert(frame.bytes.end(), at, at + piece.iov_len);
      }
      sent_.push_back(std::move(frame));
    }
    changed_.notify_all();
    return done;
  }

 private:
  static EventFd MakeEvent() {
    auto event = EventFd::Create();
    CHECK(event.has_value());
    return *std::move(event);
  }
  template <class Condition>
  bool Wait(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), condition);
  }

  const net::Offloads offloads_;
  EventFd event_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Frame> incoming_;
  std::vector<Frame> sent_;
  std::size_t room_ = SIZE_MAX;
  net::Offloads receive_offloads_ = 0;
  bool active_ = true, link_ = true, closed_ = false, connected_ = true;
};

}  // namespace gemel::testing
