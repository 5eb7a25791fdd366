#include "grpc/paced_task.h"

#include <gtest/gtest.h>

#include <memory>

namespace gemel::daemon {
namespace {

constexpr cluster::Time kMs{1000};

struct PacedTaskTest : ::testing::Test {
  std::unique_ptr<EventLoop> loop = EventLoop::Create().value();
  cluster::Time now{1'000'000};
  cluster::Time takes{0};
  int runs = 0;
  int asks_again_in = 0;  // this run
  PacedTask task{loop.get(), [this] { return now; },
                 [this] {
                   now = now + takes;
                   if (++runs == asks_again_in) task.Soon();
                 }};
};

TEST_F(PacedTaskTest, TakesNoTime_IsDoneAtOnceEachTime) {
  for (int i = 0; i < 5; ++i) task.Soon();
  EXPECT_EQ(runs, 5);
}

TEST_F(PacedTaskTest, TookLong_WhatIsAskedForMeanwhileIsDoneOnceAndLater) {
  takes = kMs;
  task.Soon();
  EXPECT_EQ(runs, 1);
  for (int i = 0; i < 5; ++i) task.Soon();
  EXPECT_EQ(runs, 1);
  while (runs < 2) loop->RunOnce(-1);
  EXPECT_EQ(runs, 2);
}

TEST_F(PacedTaskTest, TwiceItsTimeHasPassed_IsDoneAtOnceAgain) {
  takes = kMs;
  task.Soon();
  now = now + kMs + kMs;
  task.Soon();
  EXPECT_EQ(runs, 2);
}

TEST_F(PacedTaskTest, AskedForFromWithin_IsDoneOnceMoreAndNotWithin) {
  asks_again_in = 1;
  task.Soon();
  EXPECT_EQ(runs, 1);
  while (runs < 2) loop->RunOnce(-1);
  EXPECT_EQ(runs, 2);
}

}  // namespace
}  // namespace gemel::daemon
