// Machines whose disk refuses nobody: silence is not enough to take them over.
#include <algorithm>

#include "etcd/override.h"
#include "tests/unit/grpc/member_pair.h"

namespace gemel::daemon {
namespace {

constexpr char kNodeA[] = "nodes/a";

struct OpenDiskTest : MemberPair {
  OpenDiskTest() {
    EXPECT_TRUE(a->CreateDisk("db").has_value());
    EXPECT_TRUE(b->CreateDisk("db").has_value());
  }
  static v1::VirtualMachineSpec OnDisk(bool direct = true) {
    v1::VirtualMachineSpec spec;
    spec.add_disks()->set_disk("projects/p/disks/db");
    spec.mutable_disks(0)->set_direct(direct);
    return spec;
  }
  VmUid RunOpenOnA() {
    v1::FailoverSpec failover;
    failover.set_preferred_node(kNodeA);
    const auto created = a->CreateWith("web", failover, OnDisk());
    EXPECT_TRUE(created.has_value()) << created.error().message();
    EXPECT_TRUE(Until([&] { return a->Stands() == "RUNNING a" && b->Stands() == "RUNNING a"; }))
        << a->Stands() << ", " << b->Stands();
    return a->Vm().uid();
  }
  bool IsLost(const std::string& name) {
    const v1::ClusterStatus status = b->Show();
    for (const v1::ClusterNode& node : status.nodes())
      if (node.name() == name) return !node.live();
    return false;
  }
  std::string Session(MemberNode& of, const std::string& name) {
    const v1::ClusterStatus status = of.Show();
    for (const v1::ClusterNode& node : status.nodes())
      if (node.name() == name) return node.session();
    return "";
  }
  // What b answers to a person; "": it took the word.
  std::string Confirm(const std::string& name, const std::string& session,
                      const std::string& reason = "no light") {
    std::optional<ApiResult<v1::ClusterNode>> answer;
    b->member().ConfirmDead({name, session, reason, "user:root"},
                            [&](ApiResult<v1::ClusterNode> result) { answer = std::move(result); });
    for (int i = 0; i < 100 && !answer; ++i) Tick();
    if (!answer) return "no answer";
    return answer->has_value() ? "" : answer->error().message();
  }
  // Of what led to how it stands, as b explains it.
  bool Explains(const std::string& part) {
    v1::Explanation why;
    EXPECT_TRUE(b->member().Explain(kWeb, why));
    return std::any_of(why.decisions().begin(), why.decisions().end(), [&](const auto& decision) {
      return decision.text().find(part) != std::string::npos;
    });
  }
  std::vector<etcd::Override> Overrides() const {
    std::vector<etcd::Override> all;
    for (const auto& [key, value] : etcd.keys)
      if (key >= etcd::OverrideRange().first && key < etcd::OverrideRange().end)
        all.push_back(etcd::DecodeOverride(value.value).value());
    return all;
  }
  void LoseA() {
    a->lost = true;
    ASSERT_TRUE(Until([&] { return IsLost(kNodeA); }));
  }
};

TEST_F(OpenDiskTest, NodeLost_IsNotStartedAndSaysWhatToDo) {
  const VmUid uid = RunOpenOnA();
  a->lost = true;
  ASSERT_TRUE(Until([&] { return b->Vm().status().reason() == "NOT_PROVED_OFF"; }))
      << b->Vm().status().reason();
  EXPECT_NE(b->Vm().status().message().find("gemel cluster confirm-dead a"), std::string::npos);
  After(10'000);
  EXPECT_EQ(b->Calls("Start " + uid), 0);
  EXPECT_EQ(b->Show().machines(0).owner(), kNodeA);
  EXPECT_EQ(b->Show().machines(0).record(), "running");
  EXPECT_TRUE(Explains("NOT_PROVED_OFF"));
}

TEST_F(OpenDiskTest, PersonSaysThatItIsOff_IsStartedElsewhereAndThatIsOnRecord) {
  const VmUid uid = RunOpenOnA();
  LoseA();
  EXPECT_EQ(Confirm(kNodeA, Session(*b, kNodeA)), "");
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING b"; })) << b->Stands();
  EXPECT_EQ(b->Calls("Start " + uid), 1);
  EXPECT_EQ(b->Show().nodes(0).off_by(), "person");
  EXPECT_TRUE(Explains("user:root says that nodes/a is off (session 1.1): no light"));
  ASSERT_EQ(Overrides().size(), 1U);
  EXPECT_EQ(Overrides()[0].text, "user:root says that nodes/a is off (session 1.1): no light");
  EXPECT_EQ(Confirm(kNodeA, Session(*b, kNodeA)), "");  // twice the same is well
  EXPECT_EQ(Overrides().size(), 1U);
}

TEST_F(OpenDiskTest, NodeThatLives_IsNotOffWhateverIsSaid) {
  RunOpenOnA();
  const std::string said = Confirm(kNodeA, Session(*b, kNodeA));
  EXPECT_NE(said.find("has a session that lives (1.1)"), std::string::npos) << said;
  EXPECT_NE(said.find("gemel node drain a"), std::string::npos) << said;
  EXPECT_TRUE(Overrides().empty());
  After(5'000);
  EXPECT_EQ(a->Stands(), "RUNNING a");
}

TEST_F(OpenDiskTest, NonsenseAndOthers_AreRefusedByField) {
  RunOpenOnA();
  LoseA();
  EXPECT_NE(Confirm("nodes/b", "1.1").find("nodes/b answers this call"), std::string::npos);
  EXPECT_NE(Confirm("nodes/c", "1.1"), "");
  EXPECT_NE(Confirm("a", "1.1"), "");
  EXPECT_NE(Confirm(kNodeA, "1.1", "").find("say in 1 to 500"), std::string::npos);
  EXPECT_NE(Confirm(kNodeA, "").find("missing"), std::string::npos);
  EXPECT_NE(Confirm(kNodeA, "1.7").find("was back since"), std::string::npos);
  EXPECT_TRUE(Overrides().empty());
  EXPECT_EQ(b->Show().nodes(0).off_by(), "");
}

TEST_F(OpenDiskTest, NodeComesBack_TheWordIsVoid) {
  RunOpenOnA();
  LoseA();
  const std::string lost = Session(*b, kNodeA);
  ASSERT_EQ(Confirm(kNodeA, lost), "");
  ASSERT_TRUE(Until([&] { return b->Stands() == "RUNNING b"; }));
  a->lost = false;
  ASSERT_TRUE(Until([&] { return !IsLost(kNodeA) && a->Stands() == "RUNNING b"; })) << a->Stands();
  EXPECT_EQ(b->Show().nodes(0).off_by(), "");
  LoseA();
  EXPECT_EQ(b->Show().nodes(0).off_by(), "");
  EXPECT_NE(Confirm(kNodeA, lost).find("was back since"), std::string::npos);
}

TEST_F(OpenDiskTest, NodeWasOnlyCutOff_GuestGoesOnInItsProcess) {
  const VmUid uid = RunOpenOnA();
  a->CutKeeper(true);
  ASSERT_TRUE(Until([&] { return b->Vm().status().reason() == "NOT_PROVED_OFF"; }));
  After(5'000);
  a->CutKeeper(false);
  EXPECT_TRUE(Until([&] { return a->Issues(uid) && b->Stands() == "RUNNING a"; })) << b->Stands();
  EXPECT_EQ(a->Calls("Start " + uid), 1);
  EXPECT_EQ(b->Calls("Start " + uid), 0);
}

TEST_F(OpenDiskTest, NodeBeganAnew_NeedsNoWord) {
  const VmUid uid = RunOpenOnA();
  LoseA();
  a->supervisor().End(uid, {VmExitCause::kKilled, 0, 9, "power", 1});
  a->lost = false;
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING a" || b->Stands() == "RUNNING b"; }));
  EXPECT_TRUE(Overrides().empty());
}

TEST_F(OpenDiskTest, DeletedWhileItsNodeIsLost_GoesOnlyOnceThatIsOff) {
  RunOpenOnA();
  LoseA();
  ASSERT_TRUE(b->Do(&VmManager::Delete, true).has_value());
  After(5'000);
  EXPECT_TRUE(etcd.keys.contains(etcd::SpecKey(1)));
  ASSERT_EQ(Confirm(kNodeA, Session(*b, kNodeA)), "");
  EXPECT_TRUE(Until([&] { return !etcd.keys.contains(etcd::SpecKey(1)); }));
}

TEST_F(OpenDiskTest, StrengthOfItsFence_IsShownWithAnAlert) {
  RunOpenOnA();
  const v1::ClusterStatus status = a->Show();
  ASSERT_EQ(status.machines(0).fences_size(), 2);
  EXPECT_EQ(status.machines(0).fences(1), "off (person)");
  ASSERT_EQ(status.alerts_size(), 1);
  EXPECT_NE(status.alerts(0).find("its disk refuses nobody"), std::string::npos);
}

TEST_F(OpenDiskTest, MembersOfALowerLevel_AreUpgradedFirst) {
  etcd.Put(std::string(etcd::kLevelKey), "1");
  After(100);
  const auto created = a->CreateWith("web", {}, OnDisk());
  ASSERT_FALSE(created.has_value());
  EXPECT_NE(created.error().message().find("feature level 1"), std::string::npos);
  etcd.Put(std::string(etcd::kLevelKey), "2");
  After(100);
  EXPECT_TRUE(a->CreateWith("web", {}, OnDisk()).has_value());
}

TEST_F(OpenDiskTest, DisksThatCannotBe_AreRefusedByField) {
  ASSERT_TRUE(a->CreateDisk("pooled", "default").has_value());
  auto refused = a->CreateWith("web", {}, OnDisk(false));
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("disks[0].direct"), std::string::npos);
  v1::VirtualMachineSpec pooled = OnDisk();
  pooled.mutable_disks(0)->set_disk("projects/p/disks/pooled");
  refused = a->CreateWith("web", {}, pooled);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("in a pool of this node's"), std::string::npos);
  RunOpenOnA();
  refused = a->CreateWith("other", {}, OnDisk());
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("is a disk of projects/p/vms/web"), std::string::npos);
}

// ---- fence agents

struct AgentTest : OpenDiskTest {
  AgentTest() {
    FenceAgent agent;
    agent.agent = "/usr/sbin/fence_test";
    b->agents["a"] = agent;
    b->StartDaemon();
    b->agent_says = [this](const std::string& action) { return Off(action); };
    EXPECT_TRUE(Until([&] { return IsLive(*a) && IsLive(*b); }));
  }
  // As an agent does that can.
  FenceOutcome Off(const std::string& action) {
    if (action != "off") return {true, off ? 2 : 0, ""};
    off = true;
    return {true, 0, ""};
  }
  bool off = false;
};

TEST_F(AgentTest, NodeLost_IsSwitchedOffAndItsMachineStartsByItself) {
  const VmUid uid = RunOpenOnA();
  EXPECT_EQ(b->Show().machines(0).fences(1), "off (agent)");
  EXPECT_EQ(b->Show().nodes(0).fenced_by(0), "nodes/b");
  EXPECT_EQ(b->Show().alerts_size(), 0);
  a->lost = true;
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING b"; })) << b->Stands();
  EXPECT_EQ(b->agent_calls, (std::vector<std::string>{"off", "status"}));
  EXPECT_EQ(b->Show().nodes(0).off_by(), "agent");
  EXPECT_TRUE(Explains("the fence agent of b has switched it off, and seen it off (session 1.1)"));
  EXPECT_TRUE(Overrides().empty());
  EXPECT_EQ(b->Calls("Start " + uid), 1);
  EXPECT_EQ(b->Show().machines(0).fences(1), "off (person)");  // a has no agent for b
}

TEST_F(AgentTest, SaysThatItIsStillOn_NothingStartsAndItIsTriedAgain) {
  const VmUid uid = RunOpenOnA();
  b->agent_says = [](const std::string&) { return FenceOutcome{true, 0, ""}; };
  a->lost = true;
  ASSERT_TRUE(Until([&] { return b->Vm().status().reason() == "NOT_PROVED_OFF"; }));
  After(10'000);
  EXPECT_EQ(b->Calls("Start " + uid), 0);
  EXPECT_GE(b->agent_calls.size(), 6U);
  EXPECT_LE(b->agent_calls.size(), 12U);
  EXPECT_NE(b->Vm().status().message().find("fence_test status: says that it is on"),
            std::string::npos)
      << b->Vm().status().message();
  EXPECT_NE(b->Vm().status().message().find("gemel cluster confirm-dead a"), std::string::npos);
  b->agent_says = [this](const std::string& action) { return Off(action); };
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING b"; })) << b->Stands();
}

TEST_F(AgentTest, Hangs_NothingStartsUntilAPersonSaysSo) {
  const VmUid uid = RunOpenOnA();
  b->agent_says = nullptr;
  LoseA();
  After(10'000);
  EXPECT_EQ(b->agent_calls, std::vector<std::string>{"off"});
  EXPECT_EQ(b->Calls("Start " + uid), 0);
  EXPECT_EQ(Confirm(kNodeA, Session(*b, kNodeA)), "");
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING b"; })) << b->Stands();
}

TEST_F(AgentTest, NoMachineNeedsIt_NobodyIsShot) {
  const VmUid uid = RunOnA();  // without a disk
  a->lost = true;
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING b"; })) << b->Stands();
  After(2'000);
  EXPECT_TRUE(b->agent_calls.empty());
}

TEST_F(AgentTest, NodeWithoutAMajority_ShootsNobody) {
  v1::FailoverSpec failover;
  failover.set_preferred_node("nodes/a");
  RunOpenOnA();
  b->CutKeeper(true);
  After(2'600);
  a->lost = true;
  After(10'000);
  EXPECT_TRUE(b->agent_calls.empty());
}

TEST_F(AgentTest, AgentsOfBothShowWhatTheyAre) {
  a->agents["b"] = b->agents["a"];
  a->StartDaemon();
  ASSERT_TRUE(Until([&] { return IsLive(*a) && IsLive(*b); }));
  RunOpenOnA();
  EXPECT_TRUE(Until([&] { return b->Show().nodes(1).fenced_by_size() == 1; }));
  std::optional<ApiResult<v1::FenceTest>> said;
  b->member().TestFence(kNodeA, [&](ApiResult<v1::FenceTest> test) { said = std::move(test); });
  ASSERT_TRUE(Until([&] { return said.has_value(); }));
  ASSERT_TRUE(said->has_value());
  EXPECT_EQ((*said)->power(), "on");
  EXPECT_EQ(b->agent_calls, std::vector<std::string>{"status"});
  b->member().TestFence("nodes/b", [&](ApiResult<v1::FenceTest> test) { said = std::move(test); });
  EXPECT_NE(said->error().message().find("fence_agents.b"), std::string::npos);
}

}  // namespace
}  // namespace gemel::daemon
