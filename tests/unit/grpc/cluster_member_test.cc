#include "grpc/cluster_member.h"

#include "tests/unit/grpc/member_pair.h"

namespace gemel::daemon {
namespace {

struct ClusterMemberTest : MemberPair {
  // As `cluster restore` leaves etcd: without a machine that was made after the backup, and with an
  // incarnation above all.
  void RestoreWithout(std::uint32_t vm, const std::string& name) {
    etcd.Delete(etcd::SpecKey(vm));
    etcd.Delete(etcd::NameKey(name));
    etcd.Delete(fmt::format("/gemel/vms/{}", vm));
    etcd.Put(std::string(etcd::kLastVmKey), etcd::EncodeLastVm(vm - 1));
    etcd.Put("/gemel/nodes/incarnation", etcd::EncodeIncarnation(2));
  }
  // A machine with a number, as another node put it there.
  void Put(std::uint32_t vm, const std::string& name, const std::string& uid) {
    v1::VirtualMachine machine = a->Machine();
    machine.set_name(name);
    machine.set_uid(uid);
    machine.set_etag("e");
    machine.mutable_spec()->mutable_failover()->set_preferred_node("nodes/a");
    FillDefaults(*machine.mutable_spec());
    etcd.Put(etcd::SpecKey(vm),
             etcd::EncodeSpec({name, machine.SerializeAsString(), false, false, "", ""}));
    etcd.Put(etcd::NameKey(name), etcd::EncodeName(vm));
  }
};

constexpr char kDb[] = "projects/p/vms/db";
constexpr char kOther[] = "11111111-2222-4333-8444-555555555555";

TEST_F(ClusterMemberTest, CreatedOnOneNode_RunsOnceAndIsSeenOnBoth) {
  const VmUid uid = RunOnA();
  EXPECT_EQ(b->Vm().uid(), uid);
  EXPECT_EQ(a->Calls("Start " + uid), 1);
  EXPECT_EQ(b->Calls("Start " + uid), 0);
  EXPECT_EQ(a->Vm().status().failover().number(), 1U);
}

TEST_F(ClusterMemberTest, NodeLost_TheOtherStartsIt) {
  const VmUid uid = RunOnA();
  a->lost = true;
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING b"; })) << b->Stands();
  EXPECT_EQ(b->Calls("Start " + uid), 1);
  EXPECT_EQ(b->Vm().status().failover().epoch(), "1.2");
}

// More than it asks of etcd at once.
TEST_F(ClusterMemberTest, NodeWithFortyMachinesLost_TheOtherStartsEachOfThemOnce) {
  constexpr int kMachines = 40;
  v1::FailoverSpec on_a;
  on_a.set_preferred_node("nodes/a");
  const auto name = [](int i) { return "vm-" + std::to_string(i); };
  for (int i = 0; i < kMachines; ++i) ASSERT_TRUE(a->Create(name(i), on_a).has_value());
  const auto run_on = [&](MemberNode& node, const std::string& stands) {
    for (int i = 0; i < kMachines; ++i)
      if (node.Stands("projects/p/vms/" + name(i)) != stands) return false;
    return true;
  };
  ASSERT_TRUE(Until([&] { return run_on(*b, "RUNNING a"); }));
  a->lost = true;
  ASSERT_TRUE(Until([&] { return run_on(*b, "RUNNING b"); }));
  for (int i = 0; i < kMachines; ++i)
    EXPECT_EQ(b->Calls("Start " + b->Vm("projects/p/vms/" + name(i)).uid()), 1) << i;
}

TEST_F(ClusterMemberTest, NodeLosesTheMajorityAndFindsItAgain_GuestGoesOnInItsProcess) {
  v1::FailoverSpec stays;
  stays.set_stay_down(true);
  const VmUid uid = RunOnA(stays);
  a->CutKeeper(true);
  ASSERT_TRUE(Until([&] { return a->Stands() == "PAUSED a"; })) << a->Stands();
  EXPECT_FALSE(a->Issues(uid));
  a->CutKeeper(false);
  EXPECT_TRUE(Until([&] { return a->Issues(uid) && a->Stands() == "RUNNING a"; })) << a->Stands();
  EXPECT_EQ(a->Calls("Start " + uid), 1);
}

TEST_F(ClusterMemberTest, DaemonBeginsAnew_MachineRunsOn) {
  const VmUid uid = RunOnA();
  a->StartDaemon();
  EXPECT_TRUE(Until([&] { return a->Stands() == "RUNNING a"; })) << a->Stands();
  After(2'000);
  EXPECT_EQ(a->Calls("Start " + uid), 1);
  EXPECT_EQ(a->Calls("Kill " + uid), 0);
}

TEST_F(ClusterMemberTest, StoppedByTheOtherNode_StopsAndStartsAgain) {
  const VmUid uid = RunOnA();
  ASSERT_TRUE(b->Do(&VmManager::Stop).has_value());
  EXPECT_TRUE(Until([&] { return a->Stands() == "STOPPED" && b->Stands() == "STOPPED"; }));
  EXPECT_FALSE(a->Runs(uid));
  ASSERT_TRUE(b->Do(&VmManager::Start).has_value());
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING a"; })) << b->Stands();
}

TEST_F(ClusterMemberTest, StartThatTheOtherNodesStopMadeVoid_EndsOnBoth) {
  RunOnA();
  ASSERT_TRUE(b->Do(&VmManager::Stop).has_value());
  ASSERT_TRUE(Until([&] { return a->Stands() == "STOPPED" && b->Stands() == "STOPPED"; }));
  const auto start = a->Do(&VmManager::Start);
  ASSERT_TRUE(start.has_value());
  a->lost = true;  // before it could start anything
  ASSERT_TRUE(Until([&] { return b->published->operations.Get(start->name()) != nullptr; }));
  ASSERT_FALSE(b->published->operations.Get(start->name())->done());
  ASSERT_TRUE(b->Do(&VmManager::Stop).has_value());
  a->lost = false;
  const auto ended_with = [&](const MemberNode& node) {
    return ReasonOf(node.published->operations.Get(start->name())->error());
  };
  EXPECT_TRUE(Until([&] { return ended_with(*a) == reason::kSuperseded; })) << ended_with(*a);
  EXPECT_EQ(ended_with(*b), reason::kSuperseded);
}

TEST_F(ClusterMemberTest, DeletedByTheOtherNode_IsGoneFromBothAndFromEtcd) {
  const VmUid uid = RunOnA();
  ASSERT_FALSE(b->Do(&VmManager::Delete).has_value());
  ASSERT_TRUE(b->Do(&VmManager::Delete, true).has_value());
  EXPECT_TRUE(Until([&] { return a->Stands().empty() && b->Stands().empty(); }));
  EXPECT_FALSE(a->Runs(uid));
  EXPECT_FALSE(etcd.keys.contains(etcd::SpecKey(1)));
  EXPECT_FALSE(etcd.keys.contains(etcd::NameKey(kWeb)));
  EXPECT_FALSE(etcd.keys.contains("/gemel/vms/1"));
}

TEST_F(ClusterMemberTest, GuestSwitchesItselfOff_StaysOffOnBoth) {
  const VmUid uid = RunOnA();
  a->supervisor().End(uid, {VmExitCause::kGuestPoweredOff, 0, 0, "powered off", 1});
  EXPECT_TRUE(Until([&] { return a->Stands() == "STOPPED" && b->Stands() == "STOPPED"; }))
      << a->Stands();
  After(5'000);
  EXPECT_EQ(a->Calls("Start " + uid) + b->Calls("Start " + uid), 1);
}

TEST_F(ClusterMemberTest, ProcessEndsTooOften_IsStoppedWithThatReason) {
  v1::FailoverSpec failover;
  failover.set_max_restarts(1);
  const VmUid uid = RunOnA(failover);
  for (long starts = 1; starts <= 2; ++starts) {
    ASSERT_TRUE(Until([&] { return a->Calls("Start " + uid) == starts && a->Runs(uid); }));
    a->supervisor().End(uid, {VmExitCause::kKilled, 0, 9, "killed by signal 9 (Killed)", 1});
  }
  EXPECT_TRUE(Until([&] { return b->Stands() == "STOPPED"; })) << b->Stands();
  EXPECT_EQ(b->Vm().status().reason(), "TOO_MANY_RESTARTS");
}

TEST_F(ClusterMemberTest, NameOfAnOrdinaryMachineOnTheOtherNode_IsAProblemThere) {
  v1::CreateVirtualMachineRequest request;
  request.set_parent("projects/p");
  request.set_vm_id("web");
  *request.mutable_virtual_machine() = b->Machine();
  request.mutable_virtual_machine()->mutable_spec()->clear_failover();
  request.mutable_virtual_machine()->set_desired_state(v1::DESIRED_STATE_STOPPED);
  b->manager().Create({"user:test", "Create", "", "x", false}, request,
                      [](const ApiResult<v1::Operation>& made) { EXPECT_TRUE(made.has_value()); });
  ASSERT_TRUE(a->Create("web").has_value());
  EXPECT_TRUE(Until([&] { return b->published->problems.Get("cluster/" + kWeb) != nullptr; }));
  EXPECT_FALSE(b->Vm().spec().has_failover());
}

TEST_F(ClusterMemberTest, NodeDrained_GivesItsMachineAwayAndItStays) {
  RunOnA();
  bool drained = false;
  b->member().SetDrained("nodes/a", true, [&](const ApiResult<v1::ClusterNode>& node) {
    drained = node.has_value() && node->drained();
  });
  ASSERT_TRUE(Until([&] { return drained; }));
  // Its guest does what the button asks for.
  ASSERT_TRUE(Until([&] { return a->Calls("PowerButton " + a->Vm().uid()) == 1; }));
  a->supervisor().End(a->Vm().uid(), {VmExitCause::kPoweredOff, 0, 0, "powered off", 1});
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING b"; })) << b->Stands();
  After(5'000);
  EXPECT_EQ(b->Stands(), "RUNNING b");
}

// ---- what it tells ---------------------------------------------------------------------------------

bool Has(const google::protobuf::RepeatedPtrField<std::string>& all, std::string_view part) {
  return std::any_of(all.begin(), all.end(),
                     [&](const std::string& one) { return one.find(part) != std::string::npos; });
}

TEST_F(ClusterMemberTest, WhatTargetsCanDo_IsToldByWhoClaimedThem) {
  a->known = b->known = {block::FenceStrength::kWeaker, true, ""};
  RunOnA({}, true);
  EXPECT_TRUE(Has(a->Show().machines(0).fences(), "scsi-pr (weaker)"));
  EXPECT_TRUE(Has(a->Show().alerts(), "a weaker fence"));
  EXPECT_TRUE(Has(b->Show().machines(0).fences(), "scsi-pr (not claimed by this gemeld)"));
  EXPECT_FALSE(Has(b->Show().alerts(), "a weaker fence"));
  a->known.strength = block::FenceStrength::kFull;
  EXPECT_TRUE(Has(a->Show().machines(0).fences(), "scsi-pr (full)"));
  EXPECT_EQ(a->Show().alerts_size(), 0);
}

TEST_F(ClusterMemberTest, MemoryOfItsOwnMachines_IsTakenOffWhatOthersAreTold) {
  EXPECT_EQ(b->Show().nodes(0).memory_bytes(), MemberNode::kMemory);
  a->ordinary_memory = 1ull << 30;
  EXPECT_TRUE(Until(
      [&] { return b->Show().nodes(0).memory_bytes() == MemberNode::kMemory - (1ull << 30); }));
  a->ordinary_memory = MemberNode::kMemory + 1;
  EXPECT_TRUE(Until([&] { return b->Show().nodes(0).memory_bytes() == 0; }));
}

TEST_F(ClusterMemberTest, NoRoomForWhatOneNodeHas_IsAnAlert) {
  RunOnA();
  EXPECT_FALSE(Has(a->Show().alerts(), "no room"));
  b->ordinary_memory = MemberNode::kMemory;
  EXPECT_TRUE(Until([&] { return Has(a->Show().alerts(), "no room"); }));
}

TEST_F(ClusterMemberTest, NodeWithoutRoom_DoesNotTakeALostNodesMachine) {
  RunOnA();
  b->ordinary_memory = MemberNode::kMemory;
  ASSERT_TRUE(Until([&] { return b->Show().nodes(1).memory_bytes() == 0; }));
  a->lost = true;
  ASSERT_TRUE(Until([&] { return b->Vm().status().reason() == "NO_CAPACITY"; }))
      << b->Vm().status().reason();
  EXPECT_EQ(b->Calls("Start " + b->Vm().uid()), 0);
  EXPECT_TRUE(Has(b->Show().alerts(), "nodes/a is gone"));
}

// ---- numbers that a restored store gives again ----------------------------------------------------

TEST_F(ClusterMemberTest, MachineNotInTheBackup_EndsAndIsForgotten) {
  const VmUid uid = RunOnA();
  RestoreWithout(1, kWeb);
  EXPECT_TRUE(Until([&] { return a->Stands().empty() && b->Stands().empty(); }));
  EXPECT_FALSE(a->Runs(uid));
}

TEST_F(ClusterMemberTest, NumberGivenToAnotherMachine_WhatHadItEndsFirst) {
  const VmUid uid = RunOnA();
  a->supervisor().HoldAnswers(false);
  // In one moment, as for a node that was away meanwhile.
  a->CutKeeper(true);
  RestoreWithout(1, kWeb);
  Put(1, kDb, kOther);
  a->CutKeeper(false);
  ASSERT_TRUE(Until([&] { return a->Stands(kDb).starts_with("RUNNING"); })) << a->Stands(kDb);
  EXPECT_EQ(a->Stands(), "");
  EXPECT_FALSE(a->Runs(uid));
  EXPECT_EQ(a->Calls("Start " + uid), 1);  // never in the other's name
  EXPECT_EQ(b->Calls("Start " + uid), 0);
  EXPECT_EQ(a->Calls(fmt::format("Start {}", kOther)) + b->Calls(fmt::format("Start {}", kOther)),
            1);
}

TEST_F(ClusterMemberTest, NumberAndNameGivenToAnotherMachine_TakesItOver) {
  const VmUid uid = RunOnA();
  RestoreWithout(1, kWeb);
  Put(1, kWeb, kOther);
  ASSERT_TRUE(Until([&] {
    return a->Vm().uid() == kOther && b->Vm().uid() == kOther && a->Stands().starts_with("RUNNING");
  })) << a->Stands();
  EXPECT_FALSE(a->Runs(uid));
  EXPECT_EQ(a->published->problems.Get("cluster/" + kWeb), nullptr);
  EXPECT_EQ(a->Calls("Start " + uid), 1);
}

TEST_F(ClusterMemberTest, NumberGivenAgainWhileTheDaemonWasAway_WhatHadItEndsFirst) {
  const VmUid uid = RunOnA();
  RestoreWithout(1, kWeb);
  Put(1, kDb, kOther);
  a->StartDaemon();
  ASSERT_TRUE(Until([&] { return a->Stands(kDb).starts_with("RUNNING"); })) << a->Stands(kDb);
  EXPECT_EQ(a->Stands(), "");
  EXPECT_FALSE(a->Runs(uid));
  EXPECT_EQ(a->Calls("Start " + uid), 1);
}

}  // namespace
}  // namespace gemel::daemon
