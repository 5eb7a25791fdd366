#include "cluster/deadline_page.h"

#include <gtest/gtest.h>

namespace gemel::cluster {
namespace {

constexpr SessionId kMine{1, 4};

DeadlinePage PageUntil(std::int64_t us) { return {kMine, {us}, false}; }

TEST(DeadlinePage, BeforeTheDeadline_AllowsItsSessionAlone) {
  const DeadlinePage page = PageUntil(100);
  EXPECT_TRUE(page.Allows(kMine, {99}));
  EXPECT_FALSE(page.Allows(kMine, {100}));
  EXPECT_FALSE(page.Allows({1, 3}, {99}));
}

TEST(DeadlinePage, ExtendedInTime_MovesOnAndNeverBack) {
  DeadlinePage page = PageUntil(100);
  page.Extend({150}, {99});
  EXPECT_TRUE(page.Allows(kMine, {149}));
  page.Extend({120}, {110});
  EXPECT_TRUE(page.Allows(kMine, {149}));
}

TEST(DeadlinePage, ExtendedTooLate_IsPoisonedForEver) {
  DeadlinePage page = PageUntil(100);
  page.Extend({200}, {100});
  EXPECT_FALSE(page.Allows(kMine, {101}));
  page.Extend({300}, {102});
  EXPECT_FALSE(page.Allows(kMine, {103}));
}

TEST(Latch, SeenThePagePass_StaysShutWhenThePageIsGoodAgain) {
  Latch latch{kMine, false};
  EXPECT_TRUE(latch.Check(PageUntil(100), {99}));
  EXPECT_FALSE(latch.Check(PageUntil(100), {100}));
  EXPECT_FALSE(latch.Check(PageUntil(200), {150}));
}

}  // namespace
}  // namespace gemel::cluster
