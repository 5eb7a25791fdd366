// A disk in memory, with faults to order: requests can be made to fail, or held until a test lets
// go.
//
// The engine side belongs to the device's worker; the members for tests are for any thread.
#pragma once
#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/event_fd.h"
#include "block/backend.h"

namespace gemel::testing {

class FakeBlockBackend : public block::BlockBackend {
 public:
  using Op = block::BlockRequest::Op;
  struct Options {
    std::uint64_t size = 1 << 20;
    bool read_only = false;
    block::BlockTopology topology = {.discard_granularity = 4096};
    std::size_t depth = 128;
  };
  explicit FakeBlockBackend(Options options)
      : options_(options), data_(options.size), completion_(MakeEvent()) {}

  // ---- for tests
  // Requests submitted from here on wait for Release.
  void Hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  // Waits until `count` requests are held; false after 10 s.
  bool WaitForHeld(std::size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10),
                             [&] { return pending_.size() >= count; });
  }
  // Ends what is held, the last first if `reversed`, and holds no more.
  void Release(bool reversed = false) {
    const std::lock_guard lock(mutex_);
    held_ = false;
    if (reversed) std::reverse(pending_.begin(), pending_.end());
    for (const block::BlockRequest& request : std::exchange(pending_, {})) Run(request);
    completion_.Signal();
  }
  // Each further `op` fails with `error`; 0: no longer.
  void Fail(Op op, int error) {
    const std::lock_guard lock(mutex_);
    errors_[static_cast<std::size_t>(op)] = error;
  }
  std::vector<block::BlockRequest> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  // REQUIRES: no request runs.
  std::vector<std::byte>& data() { return data_; }

  // ---- the backend
  std::uint64_t size() const override { return options_.size; }
  bool read_only() const override { return options_.read_only; }
  block::BlockTopology topology() const override { return options_.topology; }
  std::string_view engine() const override { return "fake"; }
  int completion_fd() const override { return completion_.get(); }
  bool HasRoom() const override {
    const std::lock_guard lock(mutex_);
    return queued_.size() + pending_.size() + ready_.size() < options_.depth;
  }
  void Queue(const block::BlockRequest& request) override {
    CHECK(HasRoom());
    CHECK(request.offset <= options_.size && options_.size - request.offset >= request.length);
    CHECK((request.offset | request.length) % options_.topology.logical_block_size == 0);
    queued_.push_back(request);
  }
  Status Submit() override {
    const std::lock_guard lock(mutex_);
    for (const block::BlockRequest& request : std::exchange(queued_, {})) {
      requests_.push_back(request);
      if (held_) {
        pending_.push_back(request);
      } else {
        Run(request);
      }
    }
    changed_.notify_all();
    return {};
  }
  std::size_t Reap(std::span<block::BlockCompletion> out) override {
    completion_.Drain();
    const std::lock_guard lock(mutex_);
    const std::size_t n = std::min(out.size(), ready_.size());
    std::copy_n(ready_.begin(), n, out.begin());
    ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(n));
    return n;
  }

 private:
  static EventFd MakeEvent() {
    auto event = EventFd::Create();
    CHECK(event.has_value());
    return *std::move(event);
  }
  void Run(const block::BlockRequest& request) {
    const int error = errors_[static_cast<std::size_t>(request.op)];
    ready_.push_back({.tag = request.tag, .result = error != 0 ? -error : Move(request)});
  }
  std::int64_t Move(const block::BlockRequest& request) {
    std::byte* at = data_.data() + request.offset;
    if (request.op == Op::kDiscard || request.op == Op::kWriteZeroes)
      std::memset(at, 0, request.length);
    if (request.op != Op::kRead && request.op != Op::kWrite) return 0;
    for (const iovec& segment : request.iov) {
      CHECK(static_cast<std::size_t>(data_.data() + data_.size() - at) >= segment.iov_len);
      if (request.op == Op::kRead) {
        std::memcpy(segment.iov_base, at, segment.iov_len);
      } else {
        std::memcpy(at, segment.iov_base, segment.iov_len);
      }
      at += segment.iov_len;
    }
    return at - (data_.data() + request.offset);
  }

  const Options options_;
  std::vector<std::byte> data_;
  EventFd completion_;
  std::vector<block::BlockRequest> queued_;  // the worker's alone
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  std::array<int, 5> errors_{};
  std::vector<block::BlockRequest> requests_, pending_;
  std::vector<block::BlockCompletion> ready_;
};

}  // namespace gemel::testing
