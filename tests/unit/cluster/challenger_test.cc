#include "cluster/challenger.h"

#include <gtest/gtest.h>

namespace gemel::cluster {
namespace {

constexpr Rules kRules{};
constexpr SessionRecord kOpen{{1, 3}, SessionState::kOpen};

struct ChallengerTest : testing::Test {
  ChallengerTest() : challenger(1) {
    memory.OnView(1, {1}, {20}, {0});
    mine = {2, {1, 5}, {7}, true};
    challenger.OnView({100}, kOpen, {10}, {20});
  }
  std::optional<Txn> Run(std::int64_t now) { return challenger.Run({now}, mine, memory, kRules); }

  Memory memory;
  SessionView mine;
  Challenger challenger;
};

TEST_F(ChallengerTest, SilentForTheWholeWait_FencesComparingBeatAndOwnSession) {
  EXPECT_FALSE(Run(3'300'099));
  const std::optional<Txn> fence = Run(3'300'100);
  ASSERT_TRUE(fence);
  EXPECT_EQ(fence->session, (SessionRecord{{1, 3}, SessionState::kFenced}));
  ASSERT_EQ(fence->compare_count, 4U);
  EXPECT_EQ(fence->compares[0], (Compare{{KeyKind::kBeat, 1}, {20}}));
  EXPECT_EQ(fence->compares[1], (Compare{{KeyKind::kSession, 1}, {10}}));
  EXPECT_EQ(fence->compares[2], (Compare{{KeyKind::kSession, 2}, {7}}));
  EXPECT_EQ(fence->compares[3], (Compare{{KeyKind::kIncarnation, 0}, {1}}));
}

TEST_F(ChallengerTest, HeartbeatSeen_WaitsAnew) {
  challenger.OnView({3'000'000}, kOpen, {10}, {21});
  EXPECT_FALSE(Run(6'299'999));
  EXPECT_TRUE(Run(6'300'000));
}

TEST_F(ChallengerTest, SameViewAgain_DoesNotProlongTheWait) {
  challenger.OnView({3'000'000}, kOpen, {10}, {20});
  EXPECT_TRUE(Run(3'300'100));
}

TEST_F(ChallengerTest, OwnSessionNotLive_FencesNobody) {
  mine.live = false;
  EXPECT_FALSE(Run(9'000'000));
}

TEST_F(ChallengerTest, NoSessionEver_NothingToFence) {
  challenger.Forget();
  challenger.OnView({100}, {}, {}, {});
  EXPECT_FALSE(Run(9'000'000));
}

TEST_F(ChallengerTest, AnswerUnknown_IsNoEvidence) {
  ASSERT_TRUE(Run(3'300'100));
  challenger.OnReply({3'300'200}, challenger.call().id, {}, memory, kRules);
  EXPECT_EQ(challenger.record().state, SessionState::kOpen);
  EXPECT_TRUE(Run(3'800'100));
}

TEST_F(ChallengerTest, AnswerFromBeforeForgetting_IsNoEvidence) {
  ASSERT_TRUE(Run(3'300'100));
  const RequestId before = challenger.call().id;
  challenger.Forget();
  challenger.OnView({3'300'150}, kOpen, {10}, {20});
  ASSERT_TRUE(Run(6'600'150));
  challenger.OnReply({6'600'160}, before, {TxnResult::kSucceeded, {31}}, memory, kRules);
  EXPECT_EQ(challenger.record().state, SessionState::kOpen);
}

TEST_F(ChallengerTest, Refused_WaitsAnew) {
  ASSERT_TRUE(Run(3'300'100));
  challenger.OnReply({3'300'200}, challenger.call().id, {TxnResult::kRefused, {30}}, memory,
                     kRules);
  EXPECT_FALSE(Run(6'600'199));
}

TEST_F(ChallengerTest, Fenced_KeepsTheRevisionThatProvesIt) {
  ASSERT_TRUE(Run(3'300'100));
  challenger.OnReply({3'300'200}, challenger.call().id, {TxnResult::kSucceeded, {31}}, memory,
                     kRules);
  EXPECT_EQ(challenger.record().state, SessionState::kFenced);
  EXPECT_EQ(challenger.session(), Revision{31});
  EXPECT_FALSE(Run(9'000'000));
}

// ---- that it is off

struct OffTest : ChallengerTest {
  std::optional<Txn> SayOff() {
    return challenger.SayOff({5'000'000}, OffBy::kPerson, mine, memory);
  }
  void IsFenced() { challenger.OnView({4'000'000}, {{1, 3}, SessionState::kFenced}, {30}, {20}); }
};

TEST_F(OffTest, SessionThatLives_NobodySaysSo) { EXPECT_FALSE(SayOff()); }

TEST_F(OffTest, SessionThatWasClosed_NeedsNoWord) {
  challenger.OnView({4'000'000}, {{1, 3}, SessionState::kClosed}, {30}, {20});
  EXPECT_FALSE(SayOff());
}

TEST_F(OffTest, FencedSession_IsRecordedOfThatSessionAlone) {
  IsFenced();
  const std::optional<Txn> said = SayOff();
  ASSERT_TRUE(said);
  EXPECT_EQ(said->session, (SessionRecord{{1, 3}, SessionState::kFenced, OffBy::kPerson}));
  ASSERT_EQ(said->compare_count, 3U);
  EXPECT_EQ(said->compares[0], (Compare{{KeyKind::kSession, 1}, {30}}));
  EXPECT_EQ(said->compares[1], (Compare{{KeyKind::kSession, 2}, {7}}));
  EXPECT_EQ(said->compares[2], (Compare{{KeyKind::kIncarnation, 0}, {1}}));
  challenger.OnReply({5'000'100}, challenger.call().id, {TxnResult::kSucceeded, {31}}, memory,
                     kRules);
  EXPECT_EQ(challenger.record().off, OffBy::kPerson);
  EXPECT_EQ(challenger.session(), Revision{31});
  EXPECT_FALSE(SayOff());  // once is enough
}

TEST_F(OffTest, NodeCameBackMeanwhile_IsVoid) {
  IsFenced();
  ASSERT_TRUE(SayOff());
  challenger.OnReply({5'000'100}, challenger.call().id, {TxnResult::kRefused, {33}}, memory,
                     kRules);
  EXPECT_EQ(challenger.record().off, OffBy::kNobody);
  challenger.OnView({5'000'200}, {{1, 4}, SessionState::kOpen}, {33}, {33});
  EXPECT_FALSE(SayOff());
}

TEST_F(OffTest, NodeCameBackAfterwards_ItsNextSessionIsNotOff) {
  IsFenced();
  ASSERT_TRUE(SayOff());
  challenger.OnView({5'000'050}, {{1, 4}, SessionState::kOpen}, {33}, {33});
  challenger.OnReply({5'000'100}, challenger.call().id, {TxnResult::kSucceeded, {31}}, memory,
                     kRules);
  EXPECT_EQ(challenger.record(), (SessionRecord{{1, 4}, SessionState::kOpen}));
}

TEST_F(OffTest, AnswerUnknown_IsNoEvidence) {
  IsFenced();
  ASSERT_TRUE(SayOff());
  challenger.OnReply({5'000'100}, challenger.call().id, {}, memory, kRules);
  EXPECT_EQ(challenger.record().off, OffBy::kNobody);
  EXPECT_TRUE(SayOff());
}

TEST_F(OffTest, OwnSessionNotLive_NothingIsSaid) {
  IsFenced();
  mine.live = false;
  EXPECT_FALSE(SayOff());
}

TEST_F(OffTest, ClosedBeforeARestore_SaysNothingOfLaterAndMayBeSaidOff) {
  challenger.OnView({4'000'000}, {{1, 3}, SessionState::kClosed}, {30}, {20});
  memory.OnView(2, {40}, {41}, {4'500'000});
  EXPECT_TRUE(SayOff());
}

}  // namespace
}  // namespace gemel::cluster
