// An interrupt that counts, and tells whoever waits for it.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "vmm/bus/interrupt.h"

namespace gemel::testing {

class FakeInterrupt : public Interrupt {
 public:
  void Trigger() override {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  int event_fd() const override { return -1; }

  int count() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }
  // How many since the last call; for tests that do not use count().
  int Take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(count_, 0);
  }
  // Waits until it was triggered `count` times in all; false after 10 s.
  bool WaitFor(int count) const {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return count_ >= count; });
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  int count_ = 0;
};

}  // namespace gemel::testing
