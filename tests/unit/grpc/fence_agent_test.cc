#include "grpc/fence_agent.h"

#include <gtest/gtest.h>

#include "grpc/fence_duty.h"

namespace gemel::daemon {
namespace {

using cluster::Time;
using Step = FenceDuty::Step;

TEST(FenceAgent, Input_IsOneLineAnOptionWithTheSecretLast) {
  FenceAgent agent;
  agent.agent = "/agent";
  agent.plug = "7";
  agent.options = {{"ip", "10.0.0.9"}, {"username", "gemel"}};
  EXPECT_EQ(FenceInput(agent, "off", "s3cret"),
            "action=off\nplug=7\nip=10.0.0.9\nusername=gemel\npassword=s3cret\n");
  EXPECT_EQ(FenceInput({}, "status", ""), "action=status\n");
}

TEST(FenceAgent, StatusTwo_IsOffAndNothingElseIs) {
  EXPECT_EQ(PowerOf(0), FencePower::kOn);
  EXPECT_EQ(PowerOf(2), FencePower::kOff);
  EXPECT_EQ(PowerOf(1), FencePower::kUnknown);
  EXPECT_EQ(PowerOf(127), FencePower::kUnknown);
  EXPECT_EQ(PowerOf(-1), FencePower::kUnknown);
}

TEST(FenceDuty, OffAndThenSeenOff_IsProved) {
  FenceDuty duty;
  ASSERT_EQ(duty.Next({0}), Step::kSwitchOff);
  EXPECT_EQ(duty.Next({1}), Step::kNothing);  // one at a time
  duty.OnSwitchedOff({2}, true);
  EXPECT_FALSE(duty.proved());
  ASSERT_EQ(duty.Next({3}), Step::kAsk);
  duty.OnAsked({4}, FencePower::kOff);
  EXPECT_TRUE(duty.proved());
  EXPECT_EQ(duty.Next({5}), Step::kNothing);
}

TEST(FenceDuty, OffButSeenOn_IsNotProvedAndSwitchedOffAgain) {
  FenceDuty duty;
  ASSERT_EQ(duty.Next({0}), Step::kSwitchOff);
  duty.OnSwitchedOff({0}, true);
  ASSERT_EQ(duty.Next({0}), Step::kAsk);
  duty.OnAsked({0}, FencePower::kOn);
  EXPECT_FALSE(duty.proved());
  EXPECT_EQ(duty.Next({999'999}), Step::kNothing);
  EXPECT_EQ(duty.Next({1'000'000}), Step::kSwitchOff);
}

TEST(FenceDuty, NotKnown_IsNotOff) {
  FenceDuty duty;
  ASSERT_EQ(duty.Next({0}), Step::kSwitchOff);
  duty.OnSwitchedOff({0}, true);
  ASSERT_EQ(duty.Next({0}), Step::kAsk);
  duty.OnAsked({0}, FencePower::kUnknown);
  EXPECT_FALSE(duty.proved());
  EXPECT_EQ(duty.failures(), 1U);
}

TEST(FenceDuty, FailsAgainAndAgain_IsTriedLessAndLessOftenButAtLeastOnceAMinute) {
  FenceDuty duty;
  std::int64_t now = 0;
  const auto fail = [&] {
    EXPECT_EQ(duty.Next({now}), Step::kSwitchOff);
    duty.OnSwitchedOff({now}, false);
  };
  for (const std::int64_t pause : {1, 2, 4, 8, 16, 32, 60, 60}) {
    fail();
    EXPECT_EQ(duty.Next({now + pause * 1'000'000 - 1}), Step::kNothing) << pause;
    now += pause * 1'000'000;
  }
}

TEST(FenceDuty, AnswerThatNobodyWaitsFor_IsIgnored) {
  FenceDuty duty;
  duty.OnSwitchedOff({0}, true);
  duty.OnAsked({0}, FencePower::kOff);
  EXPECT_FALSE(duty.proved());
}

}  // namespace
}  // namespace gemel::daemon
