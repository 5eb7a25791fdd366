#include "net/token_bucket.h"

#include <gtest/gtest.h>

#include "net/limiter.h"
#include "tests/fakes/fake_clock.h"

namespace gemel::net {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

TEST(TokenBucket, NoRate_NeverWaits) {
  TokenBucket bucket(0, 0);
  bucket.Take(1ull << 40);
  EXPECT_FALSE(bucket.limited());
  EXPECT_EQ(bucket.WaitNs(0), 0);
}
TEST(TokenBucket, Burst_PassesAtOnce_ThenTheRate) {
  TokenBucket bucket(100, 10);
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(bucket.WaitNs(5), 0);
    bucket.Take(1);
  }
  EXPECT_EQ(bucket.WaitNs(5), 1);
  EXPECT_EQ(bucket.WaitNs(5 + kSecond / 100), 0);
}
TEST(TokenBucket, FrameLargerThanTheBurst_PassesAndIsPaidFor) {
  TokenBucket bucket(1000, 100);
  EXPECT_EQ(bucket.WaitNs(0), 0);
  bucket.Take(1100);
  EXPECT_EQ(bucket.WaitNs(0), kSecond + 1);
  EXPECT_GT(bucket.WaitNs(kSecond), 0);
  EXPECT_EQ(bucket.WaitNs(kSecond + 1), 0);
}
TEST(TokenBucket, Idle_FillsToTheBurstAlone) {
  TokenBucket bucket(1000, 100);
  static_cast<void>(bucket.WaitNs(0));
  EXPECT_EQ(bucket.WaitNs(3600 * kSecond), 0);
  bucket.Take(100);
  EXPECT_GT(bucket.WaitNs(3600 * kSecond), 0);
}
TEST(TokenBucket, LargestRateAndTime_DoNotOverflow) {
  TokenBucket bucket(1ull << 48, 1ull << 48);
  static_cast<void>(bucket.WaitNs(0));
  EXPECT_EQ(bucket.WaitNs(INT64_MAX), 0);
  bucket.Take(1ull << 48);
  EXPECT_EQ(bucket.WaitNs(INT64_MAX), 1);
}
TEST(TokenBucket, LongRun_KeepsTheRateExactly) {
  TokenBucket bucket(1'000'000, 1500);
  std::int64_t now = 0;
  std::uint64_t bytes = 0;
  while (now < 10 * kSecond) {
    const std::int64_t wait = bucket.WaitNs(now);
    now += wait;
    if (wait > 0) continue;
    bucket.Take(1500);
    bytes += 1500;
  }
  EXPECT_NEAR(static_cast<double>(bytes), 10e6, 5000);
}

TEST(Limiter, EitherLimitHolds) {
  testing::FakeClock clock;
  Limiter limiter({.bytes = 1'000'000, .bytes_burst = 1'000'000, .packets = 10, .packets_burst = 1},
                  &clock);
  EXPECT_EQ(limiter.WaitNs(), 0);
  limiter.Take(60);
  EXPECT_EQ(limiter.WaitNs(), 1);
  limiter.Take(60);
  EXPECT_EQ(limiter.WaitNs(), kSecond / 10 + 1);
}

}  // namespace
}  // namespace gemel::net
