#include "tests/guests/bench/clock.h"

namespace bench {
namespace {

// struct pvclock_vcpu_time_info (Linux, Documentation/virt/kvm/x86/msr.rst).
struct PvClock {
  std::uint32_t version;
  std::uint32_t pad0;
  std::uint64_t tsc_timestamp;
  std::uint64_t system_time;
  std::uint32_t tsc_to_system_mul;
  std::int8_t tsc_shift;
  std::uint8_t flags;
  std::uint8_t pad[2];
};
static_assert(sizeof(PvClock) == 32);
alignas(64) volatile PvClock pv_clock;

constexpr std::uint32_t kSignatureLeaf = 0x40000000, kFeatureLeaf = 0x40000001;
constexpr std::uint32_t kSignature = 0x4b4d564b;  // "KVMK"
constexpr std::uint32_t kHasClock = 1 << 3;
constexpr std::uint32_t kSystemTimeMsr = 0x4b564d01;
constexpr std::uint64_t kEnable = 1;

}  // namespace

bool Clock::Find() {
  if (guest::GetCpuid(kSignatureLeaf).ebx != kSignature) return false;
  if ((guest::GetCpuid(kFeatureLeaf).eax & kHasClock) == 0) return false;
  guest::WriteMsr(kSystemTimeMsr, reinterpret_cast<std::uint64_t>(&pv_clock) | kEnable);
  multiplier_ = pv_clock.tsc_to_system_mul;
  shift_ = pv_clock.tsc_shift;
  guest::WriteMsr(kSystemTimeMsr, 0);
  return multiplier_ != 0;
}

std::uint64_t Clock::Nanoseconds(std::uint64_t ticks) const {
  const std::uint64_t shifted = shift_ >= 0 ? ticks << shift_ : ticks >> -shift_;
  return static_cast<std::uint64_t>(static_cast<Wide>(shifted) * multiplier_ >> 32);
}

std::uint64_t Clock::TicksOfMilliseconds(std::uint64_t milliseconds) const {
  const std::uint64_t shifted = (1000000ull << 32) / multiplier_;  // of one millisecond
  return milliseconds * (shift_ >= 0 ? shifted >> shift_ : shifted << -shift_);
}

}  // namespace bench
