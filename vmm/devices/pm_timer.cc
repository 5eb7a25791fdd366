#include "vmm/devices/pm_timer.h"

namespace gemel {
namespace {

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
constexpr unsigned kTopBit = PmTimer::kBits - 1;

}  // namespace

std::uint64_t PmTimer::Ticks() const {
  const auto ns = static_cast<std::uint64_t>(clock_->MonotonicNow() - start_ns_);
  // In two parts: the product of both would overflow after an hour and a half.
  return ns / kNsPerSecond * kHz + ns % kNsPerSecond * kHz / kNsPerSecond;
}

std::uint32_t PmTimer::count() const {
  return static_cast<std::uint32_t>(Ticks() & ((1u << kBits) - 1));
}

bool PmTimer::carried() const { return Ticks() >> kTopBit != seen_carries_; }

void PmTimer::ClearCarry() { seen_carries_ = Ticks() >> kTopBit; }

void PmTimer::Reset() {
  start_ns_ = clock_->MonotonicNow();
  seen_carries_ = 0;
}

}  // namespace gemel
