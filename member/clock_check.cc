#include "member/clock_check.h"

#include <algorithm>
#include <limits>

namespace gemel::member {

// Their answer was given at some moment between our sending and receiving. So between two answers at
// least second.sent - first.received has passed here, and at most second.received - first.sent.
Status CheckRates(const std::vector<ClockSample>& samples) {
  double least = 0;
  double most = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < samples.size(); ++i) {
    for (std::size_t k = i + 1; k < samples.size(); ++k) {
      const auto theirs = static_cast<double>(samples[k].theirs - samples[i].theirs);
      const auto longest = static_cast<double>(samples[k].received - samples[i].sent);
      const auto shortest = static_cast<double>(samples[k].sent - samples[i].received);
      if (longest > 0) least = std::max(least, theirs / longest);
      if (shortest > 0) most = std::min(most, theirs / shortest);
    }
  }
  if (least > 1 + kMostRateApart || most < 1 - kMostRateApart) {
    return FailedPrecondition(
        "clocks run apart: that of the cluster runs at {:.3f} to {:.3f} of this machine's; mend "
        "the clock that is wrong (a virtual machine needs its host's clock source)",
        least, most);
  }
  return {};
}

std::int64_t RoundTripNs(const std::vector<ClockSample>& samples) {
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (const ClockSample& sample : samples) least = std::min(least, sample.received - sample.sent);
  return least;
}

}  // namespace gemel::member
