// The ACPI power management timer (ACPI 6.5, 4.8.3.3): 24 bits that count at 3.579545 MHz from
// power-on or reset, whatever the guest does, paused or not.
#pragma once
#include <atomic>
#include <cstdint>

#include "base/clock.h"

namespace gemel {

// Any thread.
class PmTimer {
 public:
  static constexpr std::uint64_t kHz = 3'579'545;
  static constexpr unsigned kBits = 24;

  // `clock` outlives it.
  explicit PmTimer(const Clock* clock) : clock_(clock) { Reset(); }

  std::uint32_t count() const;
  // TMR_STS: whether the top bit has changed since ClearCarry (4.8.3.1.1).
  bool carried() const;
  void ClearCarry();
  void Reset();

 private:
  std::uint64_t Ticks() const;

  const Clock* const clock_;
  std::atomic<std::int64_t> start_ns_{0};
  std::atomic<std::uint64_t> seen_carries_{0};
};

}  // namespace gemel
