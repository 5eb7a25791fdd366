// The time-stamp counter as a clock. Its rate is what KVM says in its paravirtual clock.
#pragma once
#include <cstdint>

#include "tests/guests/runtime/runtime.h"

namespace bench {

__extension__ using Wide = unsigned __int128;

class Clock {
 public:
  // Asks KVM; false where there is no KVM clock. At CPL 0.
  bool Find();

  std::uint64_t Nanoseconds(std::uint64_t ticks) const;
  std::uint64_t TicksOfMilliseconds(std::uint64_t milliseconds) const;

 private:
  std::uint32_t multiplier_ = 1;
  std::int8_t shift_ = 0;
};

inline std::uint64_t Now() { return guest::Tsc(); }

}  // namespace bench
