// A clock that stands until a test turns it.
#pragma once
#include <atomic>

#include "base/clock.h"

namespace gemel::testing {

class FakeClock : public Clock {
 public:
  std::int64_t MonotonicNow() const override { return monotonic_ns; }
  std::int64_t RealtimeNow() const override { return realtime_ns; }
  std::int64_t BootNow() const override { return boot_ns; }
  void Advance(std::int64_t ns) {
    monotonic_ns += ns;
    realtime_ns += ns;
    boot_ns += ns;
  }
  std::int64_t monotonic_ns = 0;
  std::int64_t realtime_ns = 0;
  std::atomic<std::int64_t> boot_ns = 0;  // threads that are fenced read it
};

}  // namespace gemel::testing
