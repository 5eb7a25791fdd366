#include "grpc/beat_rate.h"

#include <gtest/gtest.h>

namespace gemel::daemon {
namespace {

// Beats `apart_us` apart, as our clock has it, for so many seconds.
BeatRate After(std::int64_t apart_us, std::int64_t seconds) {
  BeatRate rate;
  std::uint64_t count = 0;
  for (std::int64_t at = 0; at < seconds * 1'000'000; at += apart_us) rate.OnBeat(++count, {at});
  return rate;
}

TEST(BeatRate, SameClock_IsOne) { EXPECT_NEAR(After(500'000, 1000).rate().value(), 1.0, 0.001); }

TEST(BeatRate, FastClock_IsSeen) { EXPECT_NEAR(After(454'545, 1000).rate().value(), 1.1, 0.001); }

TEST(BeatRate, TooFewBeats_AreNoRate) {
  EXPECT_FALSE(BeatRate().rate().has_value());
  EXPECT_FALSE(After(500'000, 100).rate().has_value());
}

TEST(BeatRate, SilenceOrANewSession_BeginsAnew) {
  BeatRate rate = After(500'000, 300);
  rate.OnBeat(1'000, {310'000'000});
  EXPECT_FALSE(rate.rate().has_value());
  BeatRate other = After(500'000, 300);
  other.OnBeat(1, {300'100'000});
  EXPECT_FALSE(other.rate().has_value());
}

}  // namespace
}  // namespace gemel::daemon
