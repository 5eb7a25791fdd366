// Machines of the cluster's whose process answers no more, or ends.
#include <unistd.h>

#include "tests/unit/grpc/member_pair.h"

namespace gemel::daemon {
namespace {

constexpr char kSilence[] = "gemel-vmm has not answered for 10000 ms";

struct ClusterHeartbeatTest : MemberPair {
  static v1::FailoverSpec Restarts(std::uint32_t at_most = 0) {
    v1::FailoverSpec failover;
    failover.set_on_heartbeat_loss(v1::ON_HEARTBEAT_LOSS_RESTART);
    failover.set_max_restarts(at_most);
    return failover;
  }
  void Silence(const VmUid& uid, bool silent = true) {
    a->supervisor().Tell(uid, VmUnreachable{kSilence, silent});
  }
  // Whether it has been started so often, and runs.
  bool Started(const VmUid& uid, long times) {
    return Until([&] {
      return a->Calls("Start " + uid) == times && a->Runs(uid) && a->Stands() == "RUNNING a";
    });
  }
  // Those of RESTARTED, as b tells them: "REASON: message".
  std::vector<std::string> Told() {
    std::vector<std::string> told;
    for (const auto& [sequence, event] : b->published->events->Kept(0))
      if (event->type() == v1::EVENT_TYPE_RESTARTED)
        told.push_back(event->reason() + ": " + event->message());
    return told;
  }
  // Waits until it is: events are told at a pace of the real time.
  bool IsTold() {
    for (int i = 0; i < 500 && Told().empty(); ++i) {
      usleep(10'000);
      Tick();
    }
    return !Told().empty();
  }
};

TEST_F(ClusterHeartbeatTest, ProcessDoesNotAnswer_IsEndedAndStartedAgainAndAllAreToldWhy) {
  const VmUid uid = RunOnA(Restarts());
  Silence(uid);
  ASSERT_TRUE(Started(uid, 2)) << a->Stands();
  EXPECT_EQ(a->Calls("Kill " + uid), 1);
  ASSERT_TRUE(IsTold());
  EXPECT_EQ(Told(), (std::vector<std::string>{
                        "HEARTBEAT_LOST: gemel-vmm has not answered for 10000 ms: it was ended "
                        "(restart 1 of 3 in 600 s)"}));
  After(20'000);
  EXPECT_EQ(a->Calls("Start " + uid), 2);
  EXPECT_EQ(b->Calls("Start " + uid), 0);
}

TEST_F(ClusterHeartbeatTest, NobodyHasAskedForIt_RunsOn) {
  const VmUid uid = RunOnA();
  Silence(uid);
  After(20'000);
  EXPECT_EQ(a->Calls("Kill " + uid), 0);
}

TEST_F(ClusterHeartbeatTest, AnswersInTime_RunsOn) {
  const VmUid uid = RunOnA(Restarts());
  Silence(uid);
  After(1'000);
  a->supervisor().Tell(uid, VmAnswers{});
  After(20'000);
  EXPECT_EQ(a->Calls("Kill " + uid), 0);
}

TEST_F(ClusterHeartbeatTest, ConversationAloneEnds_RunsOn) {
  const VmUid uid = RunOnA(Restarts());
  Silence(uid, false);
  After(20'000);
  EXPECT_EQ(a->Calls("Kill " + uid), 0);
}

TEST_F(ClusterHeartbeatTest, TooOften_IsStoppedAndThatIsTold) {
  const VmUid uid = RunOnA(Restarts(1));
  Silence(uid);
  ASSERT_TRUE(Started(uid, 2));
  Silence(uid);
  ASSERT_TRUE(Until([&] { return a->Stands() == "STOPPED" && b->Stands() == "STOPPED"; }))
      << a->Stands();
  EXPECT_EQ(b->Vm().status().reason(), "TOO_MANY_RESTARTS");
  EXPECT_EQ(b->Vm().status().message(),
            "gemel-vmm has not answered for 10000 ms: it was ended (restarts in 600 s: 1)");
  After(20'000);
  EXPECT_EQ(a->Calls("Start " + uid) + b->Calls("Start " + uid), 2);
}

TEST_F(ClusterHeartbeatTest, Paused_StandsStill) {
  const VmUid uid = RunOnA(Restarts());
  ASSERT_TRUE(a->Do(&VmManager::Pause).has_value());
  ASSERT_TRUE(Until([&] { return a->Stands() == "PAUSED a"; }));
  Silence(uid);
  After(20'000);
  EXPECT_EQ(a->Calls("Kill " + uid), 0);
  // Once it shall run again, it had better answer.
  ASSERT_TRUE(a->Do(&VmManager::Resume).has_value());
  EXPECT_TRUE(Started(uid, 2)) << a->Stands();
}

TEST_F(ClusterHeartbeatTest, AtItsLatch_IsLeftToTheRules) {
  const VmUid uid = RunOnA(Restarts());
  b->ordinary_memory = MemberNode::kMemory;  // it cannot take it
  ASSERT_TRUE(Until([&] { return b->Show().nodes(1).memory_bytes() == 0; }));
  a->CutKeeper(true);
  ASSERT_TRUE(Until([&] { return a->Stands() == "PAUSED a"; })) << a->Stands();
  Silence(uid);
  After(20'000);
  EXPECT_EQ(a->Calls("Kill " + uid), 0);
}

TEST_F(ClusterHeartbeatTest, GuestPanics_IsStartedAgainAndAllAreToldWhy) {
  const VmUid uid = RunOnA();
  a->supervisor().End(uid, {VmExitCause::kGuestPanicked, 1, 0, "the guest's kernel panicked", 1});
  ASSERT_TRUE(Started(uid, 2));
  ASSERT_TRUE(IsTold());
  EXPECT_EQ(Told(), (std::vector<std::string>{
                        "GUEST_PANIC: the guest's kernel panicked (restart 1 of 3 in 600 s)"}));
}

TEST_F(ClusterHeartbeatTest, WithStayDownOrUnknown_IsRefusedByField) {
  v1::FailoverSpec failover = Restarts();
  failover.set_stay_down(true);
  auto refused = a->Create("web", failover);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().DebugString().find("failover.on_heartbeat_loss"), std::string::npos);
  failover = {};
  failover.set_on_heartbeat_loss(static_cast<v1::OnHeartbeatLoss>(7));
  refused = a->Create("web", failover);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("7 is not NONE"), std::string::npos)
      << refused.error().message();
}

TEST_F(ClusterHeartbeatTest, MemberThatDoesNotKnowIt_IsUpgradedFirst) {
  etcd.Put(std::string(etcd::kLevelKey), "2");
  After(1'000);
  const auto refused = a->Create("web", Restarts());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(ReasonOf(refused.error()), "UPGRADE_FIRST");
}

}  // namespace
}  // namespace gemel::daemon
