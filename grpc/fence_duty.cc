#include "grpc/fence_duty.h"

#include <algorithm>

namespace gemel::daemon {

FenceDuty::Step FenceDuty::Next(cluster::Time now) {
  if (phase_ == Phase::kPausing && now >= until_) {
    phase_ = Phase::kSwitching;
    return Step::kSwitchOff;
  }
  if (phase_ != Phase::kToAsk) return Step::kNothing;
  phase_ = Phase::kAsking;
  return Step::kAsk;
}

void FenceDuty::OnSwitchedOff(cluster::Time now, bool done) {
  if (phase_ != Phase::kSwitching) return;
  if (!done) return Fail(now);
  phase_ = Phase::kToAsk;
}

void FenceDuty::OnAsked(cluster::Time now, FencePower power) {
  if (phase_ != Phase::kAsking) return;
  if (power != FencePower::kOff) return Fail(now);
  phase_ = Phase::kProved;
}

void FenceDuty::Fail(cluster::Time now) {
  constexpr unsigned kDoublings = 6;
  const cluster::Time pause{kFirstPause.us << std::min(failures_, kDoublings)};
  ++failures_;
  until_ = now + std::min(pause, kLongestPause);
  phase_ = Phase::kPausing;
}

}  // namespace gemel::daemon
