#include "cli/balloon_text.h"

#include <gtest/gtest.h>

namespace gemel::cli {
namespace {

TEST(BalloonText, GuestThatSaysNothing_OneLine) {
  BalloonInfo balloon;
  balloon.target = 128ull << 20;
  balloon.actual = 64ull << 20;
  balloon.reported = 3ull << 20;
  EXPECT_EQ(BalloonText(balloon),
            std::vector<std::string>{"balloon: 128 MiB asked for, 64 MiB given; 3 MiB reported as "
                                     "free since it started"});
}
TEST(BalloonText, Statistics_AreNamedAndTheirAgeIsToldAndUnknownOnesAreLeftOut) {
  BalloonInfo balloon;
  balloon.statistics_age_ms = 1500;
  balloon.statistics = {{2, 12}, {4, 300ull << 20}, {99, 1}};
  ASSERT_EQ(BalloonText(balloon).size(), 2u);
  EXPECT_EQ(BalloonText(balloon)[1],
            "balloon: the guest's memory, 1.5 s ago: free 300 MiB, major faults 12");
}

}  // namespace
}  // namespace gemel::cli
