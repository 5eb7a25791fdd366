// A clock that stands until a test turns it.
#pragma once
#include "base/clock.h"

namespace gemel::testing {

class FakeClock : public Clock {
 public:
  std::int64_t MonotonicNow() const override { return monotonic_ns; }
  std::int64_t RealtimeNow() const override { return realtime_ns; }
  void Advance(std::int64_t ns) {
    monotonic_ns += ns;
    realtime_ns += ns;
  }
  std::int64_t monotonic_ns = 0;
  std::int64_t realtime_ns = 0;
};

}  // namespace gemel::testing
