#include "grpc/fencing.h"

#include <gtest/gtest.h>

namespace gemel::daemon {
namespace {

struct FencingTest : ::testing::Test {
  FencingTest()
      : fencing(
            {{"b", Agent()}},
            [this](const FenceAgent&, const std::string& action, Fencing::Done done) {
              asked.push_back(action);
              waits.push_back(std::move(done));
            },
            [this] { return cluster::Time{now}; }) {}
  static FenceAgent Agent() {
    FenceAgent agent;
    agent.agent = "/usr/sbin/fence_test";
    return agent;
  }
  void Answer(const FenceOutcome& outcome) {
    const Fencing::Done done = std::move(waits.back());
    waits.pop_back();
    done(outcome);
  }
  void Need() { fencing.Need({{"b", "1.3"}}); }

  std::int64_t now = 0;
  std::vector<std::string> asked;
  std::vector<Fencing::Done> waits;
  Fencing fencing;
};

TEST_F(FencingTest, SwitchedOffAndSeenOff_IsProved) {
  Need();
  Answer({true, 0, ""});
  EXPECT_TRUE(fencing.proved().empty());
  Answer({true, 2, ""});
  EXPECT_EQ(fencing.proved(), std::vector<std::string>{"b"});
  EXPECT_EQ(asked, (std::vector<std::string>{"off", "status"}));
  EXPECT_TRUE(fencing.TakeFailures().empty());
}

TEST_F(FencingTest, NobodyNeeded_NothingIsRun) {
  fencing.Need({});
  fencing.Need({{"c", "1.3"}});  // there is no agent for it
  EXPECT_TRUE(asked.empty());
}

TEST_F(FencingTest, Failure_IsToldOnceForEachReasonAndTriedAgain) {
  Need();
  Answer({true, 1, "Unable to connect"});
  EXPECT_EQ(fencing.trouble("b"), "fence_test off: ended with status 1: Unable to connect");
  ASSERT_EQ(fencing.TakeFailures().size(), 1U);
  now += 1'000'000;
  Need();
  Answer({true, 1, "Unable to connect"});
  EXPECT_TRUE(fencing.TakeFailures().empty());
  now += 2'000'000;
  Need();
  Answer({false, -1, "it did not end within 60 s, and was killed"});
  EXPECT_EQ(fencing.TakeFailures().at(0).text,
            "fence_test off: it did not end within 60 s, and was killed");
  EXPECT_TRUE(fencing.proved().empty());
}

TEST_F(FencingTest, SeenOn_IsAFailure) {
  Need();
  Answer({true, 0, ""});
  Answer({true, 0, ""});
  EXPECT_EQ(fencing.trouble("b"), "fence_test status: says that it is on");
  EXPECT_TRUE(fencing.proved().empty());
}

TEST_F(FencingTest, NodeCameBackMeanwhile_AnswersOfBeforeAreVoid) {
  Need();
  fencing.Need({});
  fencing.Need({{"b", "1.4"}});
  ASSERT_EQ(waits.size(), 2U);
  waits.front()({true, 0, ""});  // of session 1.3
  EXPECT_EQ(asked, (std::vector<std::string>{"off", "off"}));
}

TEST_F(FencingTest, LostAgainBetweenTwoLooks_ProofOfBeforeIsVoid) {
  Need();
  Answer({true, 0, ""});
  Answer({true, 2, ""});
  fencing.Need({{"b", "1.4"}});
  EXPECT_TRUE(fencing.proved().empty());
  EXPECT_EQ(asked.back(), "off");
}

TEST_F(FencingTest, Asked_RunsStatusAlone) {
  FenceOutcome said;
  fencing.Ask("b", [&](const FenceOutcome& outcome) { said = outcome; });
  Answer({true, 2, "Status: OFF"});
  EXPECT_EQ(said.status, 2);
  EXPECT_EQ(asked, std::vector<std::string>{"status"});
  fencing.Ask("c", [&](const FenceOutcome& outcome) { said = outcome; });
  EXPECT_FALSE(said.ended);
}

}  // namespace
}  // namespace gemel::daemon
