#include "base/log.h"

#include <gtest/gtest.h>

namespace gemel {
namespace {

TEST(LogLimiterTest, EleventhLineInAWindow_IsSuppressed) {
  LogLimiter limiter;
  std::uint32_t suppressed = 0;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(limiter.Admit(100, &suppressed));
  EXPECT_FALSE(limiter.Admit(101, &suppressed));
}

TEST(LogLimiterTest, NextWindow_TellsHowManyWereSuppressed) {
  LogLimiter limiter;
  std::uint32_t suppressed = 0;
  for (int i = 0; i < 13; ++i) limiter.Admit(100, &suppressed);
  EXPECT_TRUE(limiter.Admit(5100, &suppressed));
  EXPECT_EQ(suppressed, 3u);
}

}  // namespace
}  // namespace gemel
