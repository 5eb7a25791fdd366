// Whether two machines' clocks run alike and how far they are apart, from asking one of them again and
// again. Pure.
#pragma once
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "cluster/config/cluster_config.h"

namespace gemel::member {

// In nanoseconds: sent and received on our clock, answered on theirs.
struct ClockSample {
  std::int64_t sent = 0;
  std::int64_t received = 0;
  std::int64_t theirs = 0;
};

// Failover is safe for clocks between 0.9 and 1.1 of true time (cluster/timing.h); what is further apart
// than this is broken already.
inline constexpr double kMostRateApart = 0.02;
inline constexpr std::int64_t kMostRoundTripNs = 50'000'000;

// kFailedPrecondition if their clock provably runs faster or slower than ours by more than
// kMostRateApart: a network that is slow proves nothing.
Status CheckRates(const std::vector<ClockSample>& samples);
// The shortest of them: what the network takes when it takes nothing else.
std::int64_t RoundTripNs(const std::vector<ClockSample>& samples);

}  // namespace gemel::member
