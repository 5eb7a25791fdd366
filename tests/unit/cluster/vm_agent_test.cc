#include "cluster/vm_agent.h"

#include <gtest/gtest.h>

#include <array>

namespace gemel::cluster {
namespace {

using ForProcess = AgentStep::ForProcess;
using State = Process::State;

constexpr Rules kRules{};
constexpr NodeId kMe = 2;
constexpr SessionId kMySession{1, 5};
constexpr SessionId kPeerSession{1, 3};

struct VmAgentTest : testing::Test {
  VmAgentTest() : agent(kMe, 1) {
    memory.OnView(1, {1}, {20}, {0});
    input.session = {kMe, kMySession, {7}, true};
    input.want = Want::kRun;
  }
  void PeerIs(SessionState state) { peers[0] = {1, {kPeerSession, state}, {30}}; }
  AgentStep Run() {
    input.peers = peers;
    return agent.Run({now}, input, memory, kRules);
  }
  void Commit(std::int64_t revision) {
    agent.OnReply({now}, agent.call().id, {TxnResult::kSucceeded, {revision}}, memory, kRules);
  }
  static Ownership OwnedByPeer() { return {1, kPeerSession, {1, 3}, VmState::kRunning, 0, {}}; }
  static Ownership OwnedByMe(VmState state, SessionId session = kMySession) {
    return {kMe, session, {1, 4}, state, 0, {}};
  }
  // Answers storage commands as a disk of which this node has the only key.
  AgentStep RunUntilClaimed() {
    AgentStep step = Run();
    for (int i = 0; i < 9 && step.storage.op != StorageCommand::Op::kNone; ++i) {
      StorageAnswer answer;
      answer.result = StorageAnswer::Result::kGood;
      answer.keys[0] = step.storage.mine;
      answer.key_count = 1;
      answer.holder = step.storage.mine;
      agent.OnStorage(answer, kRules);
      step = Run();
    }
    return step;
  }
  std::int64_t now = 1'000;
  Memory memory;
  AgentInput input;
  std::array<PeerSession, 1> peers{};
  VmAgent agent;
};

TEST_F(VmAgentTest, OwnerIsLive_TakesNothing) {
  agent.OnView(OwnedByPeer(), {25});
  PeerIs(SessionState::kOpen);
  EXPECT_FALSE(Run().txn);
}

TEST_F(VmAgentTest, OwnerFenced_TakesOverWithTheProofInTheTransaction) {
  agent.OnView(OwnedByPeer(), {25});
  PeerIs(SessionState::kFenced);
  const AgentStep step = Run();
  ASSERT_TRUE(step.txn);
  EXPECT_EQ(step.txn->compares[0], (Compare{{KeyKind::kSession, 1}, {30}}));
  EXPECT_EQ(step.txn->compares[1], (Compare{{KeyKind::kVm, 1}, {25}}));
  EXPECT_EQ(step.txn->compares[2], (Compare{{KeyKind::kSession, kMe}, {7}}));
  EXPECT_EQ(step.txn->vm.state, VmState::kFencing);
  EXPECT_EQ(step.txn->vm.epoch, (Epoch{1, 4}));
  EXPECT_EQ(step.txn->vm.last, (Issuer{1, kPeerSession, {1, 3}}));
}

TEST_F(VmAgentTest, MayNotAskNow_SaysThatItWouldAndAsksLater) {
  agent.OnView(OwnedByPeer(), {25});
  PeerIs(SessionState::kFenced);
  input.may_ask = false;
  AgentStep step = Run();
  EXPECT_FALSE(step.txn);
  EXPECT_TRUE(step.would_ask);
  input.may_ask = true;
  step = Run();
  EXPECT_TRUE(step.txn);
  EXPECT_FALSE(step.would_ask);
}

TEST_F(VmAgentTest, WholeTakeOver_StartsOnlyAfterClaimAndSecondProof) {
  agent.OnView(OwnedByPeer(), {25});
  PeerIs(SessionState::kFenced);
  ASSERT_TRUE(Run().txn);
  Commit(31);
  const AgentStep claimed = RunUntilClaimed();
  ASSERT_TRUE(claimed.txn);
  EXPECT_EQ(claimed.txn->vm.state, VmState::kStarting);
  EXPECT_EQ(claimed.txn->compares[0], (Compare{{KeyKind::kSession, 1}, {30}}));
  EXPECT_EQ(claimed.process, ForProcess::kNothing);
  Commit(32);
  const AgentStep start = Run();
  EXPECT_EQ(start.process, ForProcess::kStart);
  EXPECT_EQ(start.epoch, (Epoch{1, 4}));
  input.process = {State::kRunning, kMySession, {1, 4}};
  EXPECT_EQ(Run().txn->vm.state, VmState::kRunning);
}

TEST_F(VmAgentTest, FencingWithoutProofOfTheLastIssuer_ClaimsNoStorage) {
  Ownership record = OwnedByMe(VmState::kFencing);
  record.last = {1, kPeerSession, {1, 3}};
  agent.OnView(record, {25});
  PeerIs(SessionState::kOpen);
  const AgentStep step = Run();
  EXPECT_EQ(step.storage.op, StorageCommand::Op::kNone);
  EXPECT_FALSE(step.txn);
}

TEST_F(VmAgentTest, AnswerUnknown_StartsNothing) {
  agent.OnView(OwnedByMe(VmState::kStarting), {25});
  ASSERT_TRUE(Run().txn);  // a view alone is no reason to start: it commits the same again
  agent.OnReply({now}, agent.call().id, {}, memory, kRules);
  EXPECT_EQ(Run().process, ForProcess::kNothing);
}

TEST_F(VmAgentTest, OwnSessionOver_DoesNothing) {
  agent.OnView(OwnedByMe(VmState::kStarting), {25});
  input.session.live = false;
  const AgentStep step = Run();
  EXPECT_FALSE(step.txn);
  EXPECT_EQ(step.process, ForProcess::kNothing);
}

TEST_F(VmAgentTest, SomebodyElseHasIt_KillsThePausedOne) {
  agent.OnView(OwnedByPeer(), {25});
  PeerIs(SessionState::kOpen);
  input.process = {State::kLatched, {1, 2}, {1, 2}};
  EXPECT_EQ(Run().process, ForProcess::kKill);
}

TEST_F(VmAgentTest, PausedAndNobodyHadIt_ResumesUnderANewEpoch) {
  const SessionId before{1, 4};
  agent.OnView(OwnedByMe(VmState::kRunning, before), {25});
  input.process = {State::kLatched, before, {1, 4}};
  EXPECT_EQ(Run().txn->vm.epoch, (Epoch{1, 5}));
  Commit(31);
  ASSERT_EQ(RunUntilClaimed().txn->vm.state, VmState::kStarting);
  Commit(32);
  const AgentStep step = Run();
  EXPECT_EQ(step.process, ForProcess::kResume);
  EXPECT_EQ(step.session, kMySession);
  EXPECT_EQ(step.epoch, (Epoch{1, 5}));
}

TEST_F(VmAgentTest, PausedAndStorageShowsAnotherNode_KillsAndStartsAfresh) {
  const SessionId before{1, 4};
  agent.OnView(OwnedByMe(VmState::kRunning, before), {25});
  input.process = {State::kLatched, before, {1, 4}};
  ASSERT_TRUE(Run().txn);
  Commit(31);
  ASSERT_EQ(Run().storage.op, StorageCommand::Op::kRegister);
  agent.OnStorage({}, kRules);
  ASSERT_EQ(Run().storage.op, StorageCommand::Op::kRead);
  StorageAnswer answer;
  answer.result = StorageAnswer::Result::kGood;
  answer.keys[0] = {1, {1, 3}};
  answer.keys[1] = {kMe, {1, 5}};
  answer.key_count = 2;
  agent.OnStorage(answer, kRules);
  EXPECT_EQ(Run().process, ForProcess::kKill);
}

TEST_F(VmAgentTest, StorageRefusedTheOwner_KillsAndGoesOnUnderANewEpochOnly) {
  agent.OnView(OwnedByMe(VmState::kRunning), {25});
  input.process = {State::kConflicted, kMySession, {1, 4}};
  EXPECT_EQ(Run().process, ForProcess::kKill);
  input.process = {};
  const AgentStep step = Run();
  EXPECT_EQ(step.process, ForProcess::kNothing);
  EXPECT_EQ(step.txn->vm.epoch, (Epoch{1, 5}));
  EXPECT_EQ(step.txn->vm.state, VmState::kFencing);
}

TEST_F(VmAgentTest, GivenAway_StopsThenFrees) {
  agent.OnView(OwnedByMe(VmState::kRunning), {25});
  input.process = {State::kRunning, kMySession, {1, 4}};
  input.want = Want::kGiveAway;
  input.want_node = 1;
  EXPECT_EQ(Run().txn->vm.state, VmState::kMoving);
  Commit(31);
  EXPECT_EQ(Run().process, ForProcess::kStop);
  input.process = {};
  const AgentStep step = Run();
  EXPECT_EQ(step.txn->vm.state, VmState::kFree);
  EXPECT_EQ(step.txn->vm.reserved_for, 1U);
}

TEST_F(VmAgentTest, GivenAwayBeforeItWasStarted_NeverIs) {
  agent.OnView(OwnedByMe(VmState::kStarting), {25});
  input.want = Want::kGiveAway;
  AgentStep step = Run();
  EXPECT_EQ(step.process, ForProcess::kNothing);
  EXPECT_EQ(step.txn->vm.state, VmState::kMoving);
  Commit(31);
  step = Run();
  EXPECT_EQ(step.process, ForProcess::kNothing);
  EXPECT_EQ(step.txn->vm.state, VmState::kFree);
}

TEST_F(VmAgentTest, GivenAwayWhileItGoesOn_GoesOnFirst) {
  const SessionId before{1, 4};
  agent.OnView(OwnedByMe(VmState::kRunning, before), {25});
  input.process = {State::kLatched, before, {1, 4}};
  ASSERT_TRUE(Run().txn);
  Commit(31);
  RunUntilClaimed();
  Commit(32);
  input.want = Want::kGiveAway;
  EXPECT_EQ(Run().process, ForProcess::kResume);
}

TEST_F(VmAgentTest, FreeButReservedForAnother_IsLeft) {
  agent.OnView({0, {}, {1, 4}, VmState::kFree, 1, {}}, {25});
  PeerIs(SessionState::kOpen);
  EXPECT_FALSE(Run().txn);
}

TEST_F(VmAgentTest, FreeButReservedForOneThatIsGone_IsTakenWithTheProof) {
  for (const SessionState gone : {SessionState::kFenced, SessionState::kClosed}) {
    agent.Forget();
    agent.OnView({0, {}, {1, 4}, VmState::kFree, 1, {}}, {25});
    PeerIs(gone);
    const AgentStep step = Run();
    ASSERT_TRUE(step.txn);
    EXPECT_EQ(step.txn->compares[0], (Compare{{KeyKind::kSession, 1}, {30}}));
    EXPECT_EQ(step.txn->vm.owner, kMe);
  }
}

TEST_F(VmAgentTest, RecordOfAnEarlierIncarnation_WaitsEvenIfItSaysFree) {
  memory.OnView(2, {40}, {40}, {now});
  agent.OnView({0, {}, {1, 4}, VmState::kFree, 0, {}}, {25});
  EXPECT_FALSE(Run().txn);
  now += 3'300'000;
  const AgentStep step = Run();
  ASSERT_TRUE(step.txn);
  EXPECT_EQ(step.txn->vm.epoch, (Epoch{2, 1}));
}

TEST_F(VmAgentTest, OldView_ChangesNothing) {
  agent.OnView(OwnedByPeer(), {25});
  agent.OnView(OwnedByMe(VmState::kStarting), {24});
  EXPECT_EQ(agent.record().owner, 1U);
}

// ---- a disk that refuses nobody

struct PlainDiskTest : VmAgentTest {
  PlainDiskTest() { input.prove_off = true; }
  void PeerIsOff(OffBy by) { peers[0] = {1, {kPeerSession, SessionState::kFenced, by}, {31}}; }
  Ownership FencingOfPeers() {
    Ownership record = OwnedByMe(VmState::kFencing);
    record.last = {1, kPeerSession, {1, 3}};
    return record;
  }
};

TEST_F(PlainDiskTest, OwnerOnlySilent_IsLeftAlone) {
  agent.OnView(OwnedByPeer(), {25});
  PeerIs(SessionState::kFenced);
  EXPECT_FALSE(Run().txn);
}

TEST_F(PlainDiskTest, OwnerProvedOff_IsTakenOverWithTheProofInTheTransaction) {
  for (const OffBy by : {OffBy::kPerson, OffBy::kAgent}) {
    agent = VmAgent(kMe, 1);
    agent.OnView(OwnedByPeer(), {25});
    PeerIsOff(by);
    const AgentStep step = Run();
    ASSERT_TRUE(step.txn);
    EXPECT_EQ(step.txn->compares[0], (Compare{{KeyKind::kSession, 1}, {31}}));
  }
}

TEST_F(PlainDiskTest, OwnerEndedItsSessionItself_IsTakenOver) {
  agent.OnView(OwnedByPeer(), {25});
  PeerIs(SessionState::kClosed);
  EXPECT_TRUE(Run().txn);
}

TEST_F(PlainDiskTest, OwnerCameBackAndEndedItsProcesses_IsTakenOver) {
  agent.OnView(OwnedByPeer(), {25});
  peers[0] = {1, {{1, 4}, SessionState::kFenced}, {31}};
  EXPECT_TRUE(Run().txn);
}

TEST_F(PlainDiskTest, InterruptedTakeOver_ClaimsNothingBeforeTheFirstIssuerIsProvedOff) {
  agent.OnView(FencingOfPeers(), {25});
  PeerIs(SessionState::kFenced);
  AgentStep step = Run();
  EXPECT_EQ(step.storage.op, StorageCommand::Op::kNone);
  EXPECT_FALSE(step.txn);
  PeerIsOff(OffBy::kPerson);
  step = Run();
  EXPECT_EQ(step.storage.op, StorageCommand::Op::kRegister);
}

TEST_F(PlainDiskTest, OwnMachineAfterAPause_NeedsNoProof) {
  agent.OnView(OwnedByMe(VmState::kRunning, {1, 4}), {25});
  PeerIs(SessionState::kFenced);
  input.process = {State::kLatched, {1, 4}, {1, 4}};
  EXPECT_TRUE(Run().txn);
}

TEST_F(PlainDiskTest, FreeMachine_NeedsNoProof) {
  Ownership record;
  record.epoch = {1, 3};
  agent.OnView(record, {25});
  PeerIs(SessionState::kFenced);
  EXPECT_TRUE(Run().txn);
}

TEST_F(PlainDiskTest, RestoredStore_NoOwnerOfBeforeIsBelievedNotEvenNone) {
  Ownership record;
  record.epoch = {1, 3};
  memory.OnView(2, {40}, {41}, {1'000});
  input.session.id = {2, 1};
  now = 4'000'000;
  agent.OnView(record, {25});
  PeerIs(SessionState::kFenced);
  EXPECT_FALSE(Run().txn);
  PeerIs(SessionState::kClosed);  // before the backup was made: it says nothing of later
  EXPECT_FALSE(Run().txn);
  PeerIsOff(OffBy::kPerson);
  EXPECT_TRUE(Run().txn);
  agent.Forget();
  agent.OnView(record, {25});
  peers[0] = {1, {{2, 1}, SessionState::kOpen}, {42}};  // it lives, and has ended what it had
  EXPECT_TRUE(Run().txn);
}

}  // namespace
}  // namespace gemel::cluster
