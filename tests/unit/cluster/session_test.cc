#include "cluster/session.h"

#include <gtest/gtest.h>

namespace gemel::cluster {
namespace {

constexpr NodeId kNode = 1;
constexpr Rules kRules{};

TxnReply Good(std::int64_t revision) { return {TxnResult::kSucceeded, {revision}}; }

struct SessionTest : testing::Test {
  SessionTest() : session(kNode) {
    memory.OnView(1, {1}, {2}, {0});
    session.OnView({}, {});
  }
  std::optional<Txn> Run(std::int64_t now, bool quiet = true) {
    return session.Run({now}, quiet, memory, kRules);
  }
  void Reply(std::int64_t now, const TxnReply& reply) {
    session.OnReply({now}, session.call().id, reply, memory, kRules);
  }
  // Live since 1,000 us; what it was opened at is revision 10.
  void Open() {
    ASSERT_TRUE(Run(1'000));
    Reply(2'000, Good(10));
    ASSERT_TRUE(session.view({2'000}).live);
  }
  Memory memory;
  Session session;
};

TEST_F(SessionTest, NothingSeenYet_OpensNothing) {
  Session unseen(kNode);
  EXPECT_FALSE(unseen.Run({0}, true, memory, kRules));
}

TEST_F(SessionTest, OldProcessStillRuns_OpensNothing) {
  EXPECT_FALSE(Run(1'000, false));
  EXPECT_TRUE(Run(1'000, true));
}

TEST_F(SessionTest, Opened_LastsFromSendingNotFromTheAnswer) {
  Open();
  EXPECT_EQ(session.page().deadline, Time{1'000 + 2'500'000});
}

TEST_F(SessionTest, Heartbeat_ComparesWhatItWasOpenedAtAndTheIncarnation) {
  Open();
  EXPECT_FALSE(Run(500'999, false));
  const std::optional<Txn> beat = Run(501'000, false);
  ASSERT_TRUE(beat);
  EXPECT_EQ(beat->put, Txn::Put::kBeat);
  ASSERT_EQ(beat->compare_count, 2U);
  EXPECT_EQ(beat->compares[0], (Compare{{KeyKind::kSession, kNode}, {10}}));
  EXPECT_EQ(beat->compares[1], (Compare{{KeyKind::kIncarnation, 0}, {1}}));
}

TEST_F(SessionTest, HeartbeatUnanswered_OneOutstandingThenOneMore) {
  Open();
  ASSERT_TRUE(Run(501'000));
  EXPECT_FALSE(Run(700'000));
  EXPECT_TRUE(Run(1'001'000));
}

TEST_F(SessionTest, AnswerToAnEarlierRequest_CreditsNothing) {
  Open();
  ASSERT_TRUE(Run(501'000));
  const RequestId first = session.call().id;
  ASSERT_TRUE(Run(1'001'000));
  session.OnReply({1'002'000}, first, Good(11), memory, kRules);
  EXPECT_EQ(session.page().deadline, Time{1'000 + 2'500'000});
}

TEST_F(SessionTest, HeartbeatRefused_EndsAtOnce) {
  Open();
  ASSERT_TRUE(Run(501'000));
  Reply(502'000, {TxnResult::kRefused, {11}});
  EXPECT_FALSE(session.view({502'000}).live);
  EXPECT_TRUE(session.page().poisoned);
}

TEST_F(SessionTest, ViewShowsItFenced_EndsAtOnce) {
  Open();
  session.OnView({session.page().session, SessionState::kFenced}, {12});
  EXPECT_FALSE(session.view({3'000}).live);
}

TEST_F(SessionTest, DeadlinePassed_LateSuccessRevivesNothing) {
  Open();
  ASSERT_TRUE(Run(501'000));
  Reply(2'501'001, Good(11));
  EXPECT_FALSE(session.view({2'501'001}).live);
}

TEST_F(SessionTest, AnswerFromBeforeWhatWasSeen_EndsAndStaysClosed) {
  Open();
  ASSERT_TRUE(Run(501'000));
  Reply(502'000, Good(9));
  EXPECT_TRUE(memory.alarmed());
  session.OnView({session.page().session, SessionState::kOpen}, {10});
  EXPECT_FALSE(Run(5'000'000));
}

TEST_F(SessionTest, EndedAndSeenAgain_OpensTheNextNumber) {
  Open();
  const SessionId before = session.page().session;
  EXPECT_FALSE(Run(2'501'000));  // ends it
  session.OnView({before, SessionState::kOpen}, {10});
  const std::optional<Txn> open = Run(3'000'000);
  ASSERT_TRUE(open);
  EXPECT_EQ(open->session.id.number, before.number + 1);
}

TEST_F(SessionTest, Drained_ClosesWhenQuietAndGivesUpItsVote) {
  Open();
  session.set_drained(true);
  EXPECT_EQ(Run(501'000, false)->put, Txn::Put::kBeat);
  Reply(502'000, Good(11));
  const std::optional<Txn> close = Run(1'001'000, true);
  ASSERT_TRUE(close);
  EXPECT_EQ(close->session.state, SessionState::kClosed);
  EXPECT_FALSE(session.vote_given_up());
  Reply(1'002'000, Good(12));
  EXPECT_TRUE(session.vote_given_up());
  EXPECT_FALSE(Run(9'000'000));
}

TEST_F(SessionTest, NextRun_IsTheCallsEndThenTheNextBeatThenThePagesEnd) {
  ASSERT_TRUE(Run(1'000));
  EXPECT_EQ(session.next_run(kRules), Time{1'000 + 300'000});
  Reply(2'000, Good(10));
  EXPECT_EQ(session.next_run(kRules), Time{1'000 + 500'000});
  for (const std::int64_t at : {501'000, 1'001'000, 1'501'000, 2'001'000}) ASSERT_TRUE(Run(at));
  ASSERT_FALSE(Run(2'301'000));
  EXPECT_EQ(session.next_run(kRules), Time{1'000 + 2'500'000});
}

}  // namespace
}  // namespace gemel::cluster
