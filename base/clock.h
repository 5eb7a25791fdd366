// Time as the project reads it. Code that decides by time takes a Clock, so that a test can turn
// it.
#pragma once
#include <time.h>

#include <cstdint>

namespace gemel {

inline std::int64_t ClockNs(clockid_t clock) {
  timespec now{};
  static_cast<void>(clock_gettime(clock, &now));  // fails only for an unknown clock
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}
inline std::int64_t MonotonicNs() { return ClockNs(CLOCK_MONOTONIC); }
// Counts while the host sleeps, too.
inline std::int64_t BootNs() { return ClockNs(CLOCK_BOOTTIME); }
inline std::int64_t MonotonicMs() { return MonotonicNs() / 1'000'000; }

class Clock {
 public:
  virtual ~Clock() = default;
  // CLOCK_MONOTONIC in nanoseconds. Any thread.
  virtual std::int64_t MonotonicNow() const = 0;
  // CLOCK_REALTIME in nanoseconds since 1970. Any thread.
  virtual std::int64_t RealtimeNow() const = 0;
  // CLOCK_BOOTTIME in nanoseconds. Any thread.
  virtual std::int64_t BootNow() const { return BootNs(); }
};

class SystemClock : public Clock {
 public:
  std::int64_t MonotonicNow() const override { return MonotonicNs(); }
  std::int64_t RealtimeNow() const override { return ClockNs(CLOCK_REALTIME); }
};

}  // namespace gemel
