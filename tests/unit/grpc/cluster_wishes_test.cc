#include "grpc/cluster_wishes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace gemel::daemon {
namespace {

using cluster::Ownership;
using cluster::SessionState;
using cluster::VmState;
using cluster::Want;
using Why = cluster::Placement::Why;

constexpr std::uint32_t kWished = 5;

Ownership Owned(cluster::NodeId node, VmState state) {
  Ownership record;
  record.owner = node;
  record.session = {1, 1};
  record.epoch = {1, 1};
  record.state = state;
  return record;
}

struct ClusterWishesTest : ::testing::Test {
  ClusterWishesTest() {
    seen.sessions[1] = {{1, 1}, SessionState::kOpen};
    seen.sessions[2] = {{1, 1}, SessionState::kOpen};
    vms[0].vm = kWished;
    vms[0].memory = 10;
  }
  void Fence(cluster::NodeId node) {
    seen.sessions[node].state = SessionState::kFenced;
    seen.session_changes[node] = {++revision};
  }
  // As a node of the cluster would, now.
  void Take(std::uint32_t vm, cluster::NodeId node, VmState state) {
    seen.records[vm] = Owned(node, state);
    seen.record_changes[vm] = {++revision};
  }
  Wish At(ClusterWishes& node) { return node.Weigh(now, nodes, vms, seen).at(0); }
  Want WantAt(ClusterWishes& node) { return At(node).want; }

  std::int64_t revision = 100;
  cluster::Time now{1'000'000'000};
  ClusterWishes a{1};
  ClusterWishes b{2};
  std::vector<WishedNode> nodes{{1, 100, false}, {2, 100, false}};
  std::vector<WishedVm> vms{1};
  ClusterSeen seen;
};

TEST_F(ClusterWishesTest, Nobodys_OneNodeWantsIt) {
  EXPECT_EQ(WantAt(a), Want::kRun);
  EXPECT_EQ(WantAt(b), Want::kLeave);
  vms[0].policy.preferred = 2;
  EXPECT_EQ(WantAt(a), Want::kLeave);
  EXPECT_EQ(WantAt(b), Want::kRun);
}

TEST_F(ClusterWishesTest, RunsSomewhere_StaysThere) {
  seen.records[kWished] = Owned(2, VmState::kRunning);
  EXPECT_EQ(WantAt(a), Want::kLeave);
  EXPECT_EQ(WantAt(b), Want::kRun);
}

TEST_F(ClusterWishesTest, Paused_IsKeptByItsProcessAloneAndMovedByNothing) {
  seen.records[kWished] = Owned(1, VmState::kRunning);
  vms[0].paused = vms[0].here = true;
  vms[0].policy.preferred = 2;
  vms[0].policy.fail_back = true;
  nodes[0].drained = true;
  EXPECT_EQ(WantAt(a), Want::kRun);
  EXPECT_EQ(At(a).why, Why::kPaused);
  vms[0].here = false;
  EXPECT_EQ(WantAt(b), Want::kLeave);
  EXPECT_EQ(WantAt(a), Want::kGiveAway);
  EXPECT_EQ(At(a).to, 0U);
}

TEST_F(ClusterWishesTest, PausedAndNobodys_IsLeftUntilItIsResumed) {
  seen.records[kWished] = Owned(1, VmState::kRunning);
  vms[0].paused = true;
  Fence(1);
  EXPECT_EQ(WantAt(b), Want::kLeave);
  seen.records[kWished] = Owned(0, VmState::kFree);
  EXPECT_EQ(WantAt(b), Want::kLeave);
  vms[0].paused = false;
  EXPECT_EQ(WantAt(b), Want::kRun);
}

TEST_F(ClusterWishesTest, Paused_TakesItsRoomAndHoldsUpNobody) {
  seen.records[kWished] = Owned(2, VmState::kRunning);
  vms[0].paused = true;
  vms[0].memory = 95;
  WishedVm& other = vms.emplace_back();
  other.vm = 6;
  other.memory = 10;
  other.policy.priority = 1;
  other.policy.preferred = 2;
  for (const Wish& wish : a.Weigh(now, nodes, vms, seen))
    EXPECT_EQ(wish.want, wish.vm == 6 ? Want::kRun : Want::kLeave);
}

TEST_F(ClusterWishesTest, OwnerFenced_TheOtherWantsIt) {
  seen.records[kWished] = Owned(1, VmState::kRunning);
  EXPECT_EQ(WantAt(b), Want::kLeave);
  Fence(1);
  EXPECT_EQ(WantAt(b), Want::kRun);
}

TEST_F(ClusterWishesTest, OwnerIsBackBeforeAnybodyTookIt_ResumesIt) {
  seen.records[kWished] = Owned(1, VmState::kRunning);
  seen.sessions[1] = {{1, 2}, SessionState::kOpen};
  EXPECT_EQ(WantAt(a), Want::kRun);
  EXPECT_EQ(WantAt(b), Want::kLeave);
}

TEST_F(ClusterWishesTest, Drained_GivesAwayAndTakesNothing) {
  seen.records[kWished] = Owned(1, VmState::kRunning);
  nodes[0].drained = true;
  EXPECT_EQ(WantAt(a), Want::kGiveAway);
  EXPECT_EQ(At(a).to, 2U);
  EXPECT_EQ(WantAt(b), Want::kLeave);
  seen.records.clear();
  EXPECT_EQ(WantAt(a), Want::kLeave);
  EXPECT_EQ(WantAt(b), Want::kRun);
}

TEST_F(ClusterWishesTest, DrainedAndNowhereToGo_StaysAsItIs) {
  seen.records[kWished] = Owned(1, VmState::kRunning);
  nodes[0].drained = true;
  nodes[1].memory = 5;
  EXPECT_EQ(WantAt(a), Want::kLeave);
}

TEST_F(ClusterWishesTest, NodeCannotHaveIt_TheOtherWantsIt) {
  vms[0].barred = {1};
  EXPECT_EQ(WantAt(a), Want::kLeave);
  EXPECT_EQ(WantAt(b), Want::kRun);
  vms[0].barred = {1, 2};
  EXPECT_EQ(WantAt(b), Want::kLeave);
  EXPECT_EQ(At(b).why, Why::kNoNetwork);
}

TEST_F(ClusterWishesTest, DrainedAndNoOtherCanHaveIt_StaysAsItIs) {
  seen.records[kWished] = Owned(1, VmState::kRunning);
  nodes[0].drained = true;
  vms[0].barred = {2};
  EXPECT_EQ(WantAt(a), Want::kLeave);
}

TEST_F(ClusterWishesTest, CouldNotBeStartedForWhatTheNodeLacks_IsGivenToTheOther) {
  seen.records[kWished] = Owned(1, VmState::kRunning);
  vms[0].barred = {1};
  EXPECT_EQ(WantAt(a), Want::kRun);  // it runs, as far as is known
  vms[0].leaves = true;
  EXPECT_EQ(WantAt(a), Want::kGiveAway);
  EXPECT_EQ(At(a).to, 2U);
  vms[0].barred = {1, 2};
  EXPECT_EQ(WantAt(a), Want::kLeave);  // which goes on trying
}

TEST_F(ClusterWishesTest, GivenToANode_ThatOneAloneWantsIt) {
  Ownership record;
  record.epoch = {1, 1};
  record.reserved_for = 2;
  seen.records[kWished] = record;
  EXPECT_EQ(WantAt(a), Want::kLeave);
  EXPECT_EQ(WantAt(b), Want::kRun);
}

TEST_F(ClusterWishesTest, FailBack_TheOwnerGivesItToItsHome) {
  vms[0].policy.preferred = 1;
  vms[0].policy.fail_back = true;
  seen.records[kWished] = Owned(2, VmState::kRunning);
  EXPECT_EQ(WantAt(b), Want::kGiveAway);
  EXPECT_EQ(At(b).to, 1U);
}

TEST_F(ClusterWishesTest, Off_TheOwnerEndsItAndNobodyWantsIt) {
  vms[0].off = true;
  EXPECT_EQ(WantAt(a), Want::kLeave);
  seen.records[kWished] = Owned(1, VmState::kRunning);
  EXPECT_EQ(WantAt(a), Want::kGiveAway);
  EXPECT_EQ(At(a).to, 0U);
  EXPECT_EQ(WantAt(b), Want::kLeave);
}

TEST_F(ClusterWishesTest, StaysDown_OnlyAfterItWasLost) {
  vms[0].policy.stay_down = true;
  EXPECT_EQ(WantAt(a), Want::kRun);
  seen.records[kWished] = Owned(1, VmState::kRunning);
  EXPECT_EQ(WantAt(b), Want::kLeave);
  Fence(1);
  EXPECT_EQ(At(b).why, Why::kStaysDown);
}

TEST_F(ClusterWishesTest, StaysDownAndIsStoppedAndStartedByAPerson_Runs) {
  vms[0].policy.stay_down = true;
  seen.records[kWished] = Owned(1, VmState::kRunning);
  EXPECT_EQ(WantAt(b), Want::kLeave);
  Fence(1);
  EXPECT_EQ(At(b).why, Why::kStaysDown);
  vms[0].off = true;
  EXPECT_EQ(WantAt(b), Want::kLeave);
  vms[0].off = false;
  EXPECT_EQ(WantAt(b), Want::kRun);
  seen.records[kWished] = Owned(2, VmState::kRunning);
  EXPECT_EQ(WantAt(b), Want::kRun);
  Fence(2);
  EXPECT_EQ(At(b).why, Why::kStaysDown);  // lost once more
}

TEST_F(ClusterWishesTest, LostTooOften_StaysDownUntilTheWindowHasPassed) {
  vms[0].policy.most_restarts = 1;
  seen.records[kWished] = Owned(1, VmState::kRunning);
  EXPECT_EQ(WantAt(b), Want::kLeave);
  Fence(1);
  EXPECT_EQ(WantAt(b), Want::kRun);  // the one that is allowed
  seen.records[kWished] = Owned(2, VmState::kRunning);
  seen.sessions[1] = {{1, 2}, SessionState::kOpen};
  EXPECT_EQ(WantAt(b), Want::kRun);
  Fence(2);
  EXPECT_EQ(At(b).why, Why::kTooManyRestarts);
  now = now + vms[0].policy.window;
  EXPECT_EQ(At(b).why, Why::kStart);
}

TEST_F(ClusterWishesTest, NoRoom_NobodyTakesIt) {
  nodes[1].memory = 5;
  seen.records[kWished] = Owned(1, VmState::kRunning);
  Fence(1);
  EXPECT_EQ(At(b).why, Why::kNoCapacity);
}

// ---- more than two nodes

struct ManyWishesTest : ClusterWishesTest {
  static constexpr std::uint32_t kMachines = 12;
  ManyWishesTest() {
    for (cluster::NodeId node = 3; node <= 5; ++node) {
      seen.sessions[node] = {{1, 1}, SessionState::kOpen};
      nodes.push_back({node, 100, false});
    }
    for (cluster::NodeId node = 1; node <= 5; ++node) all.emplace_back(node);
    vms.clear();
    for (std::uint32_t vm = 1; vm <= kMachines; ++vm) {
      vms.push_back({vm, {}, 10, false, {}});
      Take(vm, 1, VmState::kRunning);
    }
    for (ClusterWishes& node : all) node.Weigh(now, nodes, vms, seen);
  }
  // Who would have each machine; a machine that two would have fails.
  std::map<std::uint32_t, cluster::NodeId> Takers() {
    std::map<std::uint32_t, cluster::NodeId> takers;
    for (cluster::NodeId node = 2; node <= all.size(); ++node) {
      if (node == dead) continue;
      for (const Wish& wish : all[node - 1].Weigh(now, nodes, vms, seen))
        if (wish.want == Want::kRun) {
          EXPECT_TRUE(takers.emplace(wish.vm, node).second) << "machine " << wish.vm;
        }
    }
    return takers;
  }
  static std::uint32_t FirstOf(cluster::NodeId node,
                               const std::map<std::uint32_t, cluster::NodeId>& takers) {
    return std::ranges::find(takers, node, [](const auto& one) { return one.second; })->first;
  }

  cluster::NodeId dead = 0;  // its gemeld does not run
  std::vector<ClusterWishes> all;
};

TEST_F(ManyWishesTest, NodeLost_EachOfItsMachinesIsWantedByOneAndAllHaveAPart) {
  Fence(1);
  const auto takers = Takers();
  EXPECT_EQ(takers.size(), kMachines);
  std::map<cluster::NodeId, int> parts;
  for (const auto& [vm, node] : takers) ++parts[node];
  EXPECT_EQ(parts, (std::map<cluster::NodeId, int>{{2, 3}, {3, 3}, {4, 3}, {5, 3}}));
  // What some have taken already changes nobody's mind about the rest.
  for (const std::uint32_t vm : {12U, 3U, 7U}) Take(vm, takers.at(vm), VmState::kFencing);
  EXPECT_EQ(Takers(), takers);
  for (const std::uint32_t vm : {11U, 12U, 10U})  // run already
    Take(vm, takers.at(vm), VmState::kRunning);
  EXPECT_EQ(Takers(), takers);
}

TEST_F(ManyWishesTest, NodeThatTakesNothing_IsPassedOverAndTriedAgainLater) {
  Fence(1);
  auto takers = Takers();
  dead = 4;
  for (const auto& [vm, node] : takers)
    if (node != dead) Take(vm, node, VmState::kRunning);
  const std::uint32_t left = FirstOf(dead, takers);
  EXPECT_FALSE(Takers().contains(left));
  now = now + ClusterWishes::kPatience;
  EXPECT_TRUE(Takers().contains(left));
  now = now + ClusterWishes::kPassedOver;
  EXPECT_FALSE(Takers().contains(left));
}

TEST_F(ManyWishesTest, NodeThatTakesSomething_IsNotPassedOver) {
  Fence(1);
  const auto takers = Takers();
  now = now + ClusterWishes::kPatience - cluster::Time{1};
  for (cluster::NodeId node = 2; node <= 5; ++node)
    Take(FirstOf(node, takers), node, VmState::kFencing);
  EXPECT_EQ(Takers(), takers);
  now = now + ClusterWishes::kPatience - cluster::Time{1};
  EXPECT_EQ(Takers(), takers);
}

TEST_F(ManyWishesTest, OnItsWayToANode_TakesRoomThereAndGoesNowhereElse) {
  Ownership moving = Owned(1, VmState::kMoving);
  moving.reserved_for = 2;
  for (std::uint32_t vm = 1; vm <= 10; ++vm) seen.records[vm] = moving;
  nodes[0].drained = true;
  const std::vector<Wish> wishes = all[0].Weigh(now, nodes, vms, seen);
  for (const Wish& wish : wishes) {
    EXPECT_EQ(wish.want, Want::kGiveAway);
    EXPECT_EQ(wish.to == 2, wish.vm <= 10) << wish.vm;  // 2 is full with those
  }
}

// In time that grows with their number alone: it is done after each change of a record.
TEST_F(ClusterWishesTest, FiveThousandMachines_HaveAWishEach) {
  constexpr std::uint32_t kMany = 5'000;
  vms.clear();
  for (std::uint32_t vm = 1; vm <= kMany; ++vm) {
    WishedVm& wished = vms.emplace_back();
    wished.vm = vm;
    wished.off = vm % 5 == 0;
    wished.memory = 1;
    seen.records[vm] = Owned(vm % 2 + 1, VmState::kRunning);
  }
  nodes = {{1, kMany, false}, {2, kMany, false}};
  const std::vector<Wish> wishes = a.Weigh(now, nodes, vms, seen);
  EXPECT_EQ(wishes.size(), kMany);
  EXPECT_EQ(std::count_if(wishes.begin(), wishes.end(),
                          [](const Wish& wish) { return wish.want == Want::kRun; }),
            2'000);
}

}  // namespace
}  // namespace gemel::daemon
