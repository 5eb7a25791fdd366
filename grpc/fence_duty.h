// What is done with one node that must be off: its agent is asked to switch it off, then, in a second
// run, whether it is. Only that counts. What fails is tried again, less and less often. Pure: no clock,
// no process.
#pragma once
#include <cstdint>

#include "cluster/timing.h"
#include "grpc/fence_agent.h"

namespace gemel::daemon {

class FenceDuty {
 public:
  enum class Step : std::uint8_t { kNothing, kSwitchOff, kAsk };
  static constexpr cluster::Time kFirstPause{1'000'000};
  static constexpr cluster::Time kLongestPause{60'000'000};

  // What is to be begun now. Each but kNothing is answered by the call of its name, before anything else.
  Step Next(cluster::Time now);
  void OnSwitchedOff(cluster::Time now, bool done);
  void OnAsked(cluster::Time now, FencePower power);

  // The agent has said that it is off, after it had been asked to switch it off.
  bool proved() const { return phase_ == Phase::kProved; }
  unsigned failures() const { return failures_; }

 private:
  enum class Phase : std::uint8_t { kPausing, kSwitching, kToAsk, kAsking, kProved };
  void Fail(cluster::Time now);

  Phase phase_ = Phase::kPausing;
  cluster::Time until_ = cluster::kNever;
  unsigned failures_ = 0;
};

}  // namespace gemel::daemon
