// Machines of the cluster's that somebody has paused.
#include "tests/unit/grpc/member_pair.h"

namespace gemel::daemon {
namespace {

struct ClusterPauseTest : MemberPair {
  VmUid PauseOnA(v1::FailoverSpec failover = {}) {
    const VmUid uid = RunOnA(std::move(failover));
    const auto paused = a->Do(&VmManager::Pause);
    EXPECT_TRUE(paused.has_value()) << paused.error().message();
    EXPECT_TRUE(Until([&] { return a->Stands() == "PAUSED a" && b->Stands() == "PAUSED a"; }))
        << a->Stands() << ", " << b->Stands();
    EXPECT_TRUE(StandsStill(uid));
    return uid;
  }
  // In the process that it was paused in.
  bool StandsStill(const VmUid& uid) {
    return a->Runs(uid) && a->supervisor().vms().at(uid).state == VmState::kPaused &&
           a->Calls("Start " + uid) + b->Calls("Start " + uid) == 1;
  }
  bool IsDone(const MemberNode& node, const v1::Operation& operation) {
    const auto found = node.published->operations.Get(operation.name());
    return found != nullptr && found->done() && !found->has_error();
  }
  static std::string ErrorOf(const MemberNode& node, const v1::Operation& operation) {
    const auto found = node.published->operations.Get(operation.name());
    return found == nullptr ? "unknown" : ReasonOf(found->error());
  }
  void LoseA() {
    a->lost = true;
    ASSERT_TRUE(Until([&] { return b->Vm().status().reason() == kPausedLost; })) << b->Stands();
  }
};

TEST_F(ClusterPauseTest, Paused_KeepsOwnerEpochAndProcessUntilItIsResumed) {
  const VmUid uid = RunOnA();
  const auto pause = a->Do(&VmManager::Pause);
  ASSERT_TRUE(pause.has_value());
  EXPECT_EQ(pause->metadata().node(), "nodes/a");
  ASSERT_TRUE(Until([&] { return IsDone(*a, *pause); }));
  After(10'000);
  EXPECT_EQ(a->Stands(), "PAUSED a");
  EXPECT_EQ(b->Stands(), "PAUSED a");
  EXPECT_TRUE(StandsStill(uid));
  EXPECT_EQ(a->Vm().status().failover().epoch(), "1.1");
  const auto resume = a->Do(&VmManager::Resume);
  ASSERT_TRUE(resume.has_value());
  ASSERT_TRUE(Until([&] { return IsDone(*a, *resume) && b->Stands() == "RUNNING a"; }));
  EXPECT_EQ(a->supervisor().vms().at(uid).state, VmState::kRunning);
  EXPECT_EQ(a->Calls("Start " + uid), 1);
  EXPECT_EQ(a->Vm().status().failover().epoch(), "1.1");
}

TEST_F(ClusterPauseTest, PausedTwiceOrWhereItIsNot_IsRefused) {
  PauseOnA();
  EXPECT_FALSE(a->Do(&VmManager::Pause).has_value());
  const auto start = a->Do(&VmManager::Start);
  ASSERT_FALSE(start.has_value());
  EXPECT_NE(start.error().message().find("resume it"), std::string::npos);
  // No gemeld is asked here: b says whom to ask.
  const auto elsewhere = b->Do(&VmManager::Resume);
  ASSERT_FALSE(elsewhere.has_value());
  EXPECT_NE(elsewhere.error().message().find("ask nodes/a"), std::string::npos);
}

TEST_F(ClusterPauseTest, MemberThatDoesNotKnowPauses_IsUpgradedFirst) {
  RunOnA();
  etcd.Put(std::string(etcd::kLevelKey), "2");
  After(1'000);
  const auto refused = a->Do(&VmManager::Pause);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(ReasonOf(refused.error()), "UPGRADE_FIRST");
  EXPECT_NE(refused.error().message().find("level 3"), std::string::npos);
  EXPECT_EQ(a->Vm().desired_state(), v1::DESIRED_STATE_RUNNING);
  etcd.Put(std::string(etcd::kLevelKey), "3");
  After(1'000);
  EXPECT_TRUE(a->Do(&VmManager::Pause).has_value());
}

// ---- and the latch

TEST_F(ClusterPauseTest, MajorityLostWhilePaused_StaysPausedInTheNextEpoch) {
  const VmUid uid = PauseOnA();
  a->CutKeeper(true);
  ASSERT_TRUE(Until([&] { return a->Vm().status().reason() == "NO_MAJORITY"; }));
  After(10'000);
  EXPECT_EQ(b->Calls("Start " + uid), 0);
  a->CutKeeper(false);
  ASSERT_TRUE(Until([&] {
    return a->Issues(uid) && a->Stands() == "PAUSED a" && a->Vm().status().reason().empty() &&
           b->Stands() == "PAUSED a";
  })) << a->Stands()
      << " " << a->Vm().status().reason() << ", " << b->Stands();
  EXPECT_TRUE(StandsStill(uid));
  EXPECT_EQ(a->Vm().status().failover().epoch(), "1.2");
  After(5'000);
  EXPECT_TRUE(StandsStill(uid));
  EXPECT_TRUE(a->Do(&VmManager::Resume).has_value());
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING a"; }));
}

TEST_F(ClusterPauseTest, ResumedAtTheLatch_GoesOnWhenThatOpens) {
  v1::FailoverSpec stays;  // on a, once somebody wants it to run
  stays.set_stay_down(true);
  const VmUid uid = PauseOnA(stays);
  a->CutKeeper(true);
  ASSERT_TRUE(Until([&] { return a->Vm().status().reason() == "NO_MAJORITY"; }));
  const auto resume = a->Do(&VmManager::Resume);
  ASSERT_TRUE(resume.has_value()) << resume.error().message();
  After(1'000);
  EXPECT_EQ(a->Calls("Resume " + uid), 0);
  EXPECT_FALSE(IsDone(*a, *resume));
  a->CutKeeper(false);
  ASSERT_TRUE(Until([&] { return IsDone(*a, *resume); })) << a->Stands();
  EXPECT_EQ(a->supervisor().vms().at(uid).state, VmState::kRunning);
  EXPECT_EQ(a->Calls("Start " + uid), 1);
}

TEST_F(ClusterPauseTest, LatchedWithoutAPause_GoesOnByItself) {
  v1::FailoverSpec stays;
  stays.set_stay_down(true);
  const VmUid uid = RunOnA(stays);
  a->CutKeeper(true);
  ASSERT_TRUE(Until([&] { return a->Stands() == "PAUSED a"; }));
  const auto refused = a->Do(&VmManager::Pause);
  ASSERT_FALSE(refused.has_value());
  EXPECT_FALSE(a->Do(&VmManager::Resume).has_value());  // nobody has paused it
  a->CutKeeper(false);
  EXPECT_TRUE(Until([&] { return a->Issues(uid) && a->Stands() == "RUNNING a"; })) << a->Stands();
  EXPECT_EQ(a->Calls("Pause " + uid), 0);
}

// ---- what is lost while it is paused

TEST_F(ClusterPauseTest, NodeLost_NobodyStartsItBeforeItIsResumed) {
  const VmUid uid = PauseOnA();
  LoseA();
  EXPECT_EQ(b->Vm().status().state(), v1::VIRTUAL_MACHINE_STATE_FAILED);
  After(20'000);
  EXPECT_EQ(b->Calls("Start " + uid), 0);
  const auto resume = b->Do(&VmManager::Resume);
  ASSERT_TRUE(resume.has_value()) << resume.error().message();
  EXPECT_TRUE(Until([&] { return IsDone(*b, *resume) && b->Stands() == "RUNNING b"; }))
      << b->Stands();
  EXPECT_EQ(b->Calls("Start " + uid), 1);
}

TEST_F(ClusterPauseTest, NodeLostAndBack_StandsStillWhereItWas) {
  const VmUid uid = PauseOnA();
  LoseA();
  a->lost = false;
  ASSERT_TRUE(Until([&] { return a->Issues(uid) && b->Stands() == "PAUSED a"; })) << b->Stands();
  After(2'000);
  EXPECT_EQ(a->Stands(), "PAUSED a");
  EXPECT_TRUE(StandsStill(uid));
}

TEST_F(ClusterPauseTest, NodeBackWithoutItsProcess_DoesNotStartIt) {
  const VmUid uid = PauseOnA();
  LoseA();
  a->supervisor().vms().erase(uid);
  a->StartDaemon();
  a->lost = false;
  ASSERT_TRUE(Until([&] { return a->Vm().status().reason() == kPausedLost; })) << a->Stands();
  After(10'000);
  EXPECT_EQ(a->Calls("Start " + uid), 1);  // that of before
  EXPECT_EQ(b->Calls("Start " + uid), 0);
  EXPECT_TRUE(b->Do(&VmManager::Start).has_value());
  EXPECT_TRUE(Until([&] { return b->Stands().starts_with("RUNNING"); })) << b->Stands();
}

TEST_F(ClusterPauseTest, ProcessEnds_IsNobodysUntilItIsResumed) {
  const VmUid uid = PauseOnA();
  a->supervisor().End(uid, {VmExitCause::kKilled, 0, 9, "killed by signal 9 (Killed)", 1});
  ASSERT_TRUE(Until([&] {
    return a->Vm().status().reason() == kPausedLost && b->Vm().status().reason() == kPausedLost;
  })) << a->Stands();
  After(10'000);
  EXPECT_EQ(a->Calls("Start " + uid) + b->Calls("Start " + uid), 1);
  EXPECT_EQ(b->Show().machines(0).record(), "free");
  const auto resume = b->Do(&VmManager::Resume);
  ASSERT_TRUE(resume.has_value());
  EXPECT_TRUE(Until([&] { return IsDone(*b, *resume) && a->Stands() == "RUNNING a"; }))
      << a->Stands();
}

TEST_F(ClusterPauseTest, ProcessEndsBeforeItIsPaused_WhoAskedIsTold) {
  const VmUid uid = RunOnA();
  a->supervisor().HoldAnswers(true);
  const auto pause = a->Do(&VmManager::Pause);
  ASSERT_TRUE(pause.has_value());
  a->supervisor().End(uid, {VmExitCause::kKilled, 0, 9, "killed by signal 9 (Killed)", 1});
  After(100);
  a->supervisor().HoldAnswers(false);
  a->supervisor().ReleaseAnswers();
  ASSERT_TRUE(Until([&] { return a->published->operations.Get(pause->name())->done(); }));
  EXPECT_EQ(ErrorOf(*a, *pause), kPausedLost);
  After(5'000);
  EXPECT_EQ(a->Calls("Start " + uid), 1);
}

// ---- and gemeld

TEST_F(ClusterPauseTest, DaemonBeginsAnew_KnowsThatItIsPaused) {
  const VmUid uid = PauseOnA();
  a->StartDaemon();
  ASSERT_TRUE(Until([&] { return a->Stands() == "PAUSED a"; })) << a->Stands();
  After(2'000);
  EXPECT_TRUE(StandsStill(uid));
  EXPECT_EQ(a->Calls("Pause " + uid), 1);
  ASSERT_TRUE(a->Do(&VmManager::Resume).has_value());
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING a" && a->Stands() == "RUNNING a"; }));
}

TEST_F(ClusterPauseTest, DaemonEndsBeforeItHasPaused_TheNextOneDoes) {
  const VmUid uid = RunOnA();
  a->supervisor().vms().at(uid).state = VmState::kConfigured;  // it refuses
  const auto pause = a->Do(&VmManager::Pause);
  ASSERT_TRUE(pause.has_value());
  a->supervisor().vms().at(uid).state = VmState::kRunning;
  a->StartDaemon();
  ASSERT_TRUE(Until([&] { return a->Stands() == "PAUSED a"; })) << a->Stands();
  EXPECT_TRUE(StandsStill(uid));
  EXPECT_TRUE(Until([&] { return IsDone(*a, *pause); }));
}

TEST_F(ClusterPauseTest, ProcessIsJustBeingReset_IsAskedAgain) {
  const VmUid uid = RunOnA();
  a->supervisor().vms().at(uid).state = VmState::kConfigured;  // it refuses
  const auto pause = a->Do(&VmManager::Pause);
  ASSERT_TRUE(pause.has_value());
  After(3'000);
  EXPECT_EQ(a->Stands(), "RUNNING a");
  EXPECT_FALSE(a->published->operations.Get(pause->name())->done());
  a->supervisor().vms().at(uid).state = VmState::kRunning;
  EXPECT_TRUE(Until([&] { return a->Stands() == "PAUSED a"; })) << a->Stands();
  EXPECT_TRUE(StandsStill(uid));
  EXPECT_TRUE(IsDone(*a, *pause));
}

// ---- what else may be asked of it

TEST_F(ClusterPauseTest, StoppedWhilePaused_IsOffAtOnce) {
  const VmUid uid = PauseOnA();
  ASSERT_TRUE(b->Do(&VmManager::Stop).has_value());
  EXPECT_TRUE(Until([&] { return a->Stands() == "STOPPED" && b->Stands() == "STOPPED"; }))
      << a->Stands();
  EXPECT_EQ(a->Calls("PowerButton " + uid), 0);
  EXPECT_FALSE(a->Runs(uid));
}

TEST_F(ClusterPauseTest, NodeDrained_KeepsWhatIsPausedUntilItIsResumed) {
  const VmUid uid = PauseOnA();
  b->member().SetDrained("nodes/a", true, [](const ApiResult<v1::ClusterNode>&) {});
  After(10'000);
  EXPECT_EQ(b->Stands(), "PAUSED a");
  EXPECT_TRUE(StandsStill(uid));
  v1::Explanation why;
  EXPECT_TRUE(a->member().Explain(kWeb, why));
  EXPECT_NE(why.text().find("shall be paused"), std::string::npos) << why.text();
  ASSERT_TRUE(a->Do(&VmManager::Resume).has_value());
  ASSERT_TRUE(Until([&] { return a->Calls("PowerButton " + uid) == 1; }));
  a->supervisor().End(uid, {VmExitCause::kPoweredOff, 0, 0, "powered off", 1});
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING b"; })) << b->Stands();
}

}  // namespace
}  // namespace gemel::daemon
