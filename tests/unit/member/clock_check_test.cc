#include "member/clock_check.h"

#include <gtest/gtest.h>

namespace gemel::member {
namespace {

constexpr std::int64_t kMs = 1'000'000;

// Their clock runs at `rate` of ours; an answer is given in the middle of a round trip.
std::vector<ClockSample> Samples(double rate, std::int64_t round_trip_ns) {
  std::vector<ClockSample> samples;
  for (int i = 0; i < 10; ++i) {
    const std::int64_t sent = i * 100 * kMs;
    const auto middle = static_cast<double>(sent + round_trip_ns / 2);
    samples.push_back({sent, sent + round_trip_ns, 77 + static_cast<std::int64_t>(middle * rate)});
  }
  return samples;
}

TEST(ClockCheckTest, RatesThatAreAlike_ArePassed) {
  EXPECT_TRUE(CheckRates(Samples(1.0, kMs)));
  EXPECT_TRUE(CheckRates(Samples(1.01, kMs)));
  EXPECT_TRUE(CheckRates({}));
}

TEST(ClockCheckTest, RatesProvablyApart_AreRefused) {
  EXPECT_FALSE(CheckRates(Samples(1.1, kMs)));
  EXPECT_FALSE(CheckRates(Samples(0.9, kMs)));
  EXPECT_FALSE(CheckRates(Samples(1.1, 10 * kMs)));
}

TEST(ClockCheckTest, SlowNetwork_ProvesNothing) {
  EXPECT_TRUE(CheckRates(Samples(1.1, 200 * kMs)));
}

TEST(ClockCheckTest, OneSlowAnswer_IsNotTheRoundTrip) {
  std::vector<ClockSample> samples = Samples(1.0, 3 * kMs);
  samples[0].received += 500 * kMs;
  EXPECT_EQ(RoundTripNs(samples), 3 * kMs);
}

}  // namespace
}  // namespace gemel::member
