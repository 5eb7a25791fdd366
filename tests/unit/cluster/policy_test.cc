#include "cluster/policy.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace gemel::cluster {
namespace {

using Why = Placement::Why;

constexpr Time kNow{1'000'000'000};

std::vector<NodeStatus> BothNodes() { return {{1, true, 100}, {2, true, 100}}; }
std::vector<NodeStatus> OnlyTheSecond() { return {{1, false, 100}, {2, true, 100}}; }
VmStatus Lost(std::uint32_t vm, std::uint64_t memory = 10) {
  VmStatus status;
  status.vm = vm;
  status.memory = memory;
  status.failed = true;
  return status;
}
VmStatus RunsOn(NodeId node, std::uint32_t vm, std::uint64_t memory = 10) {
  VmStatus status = Lost(vm, memory);
  status.failed = false;
  status.owner = node;
  status.running = true;
  return status;
}
std::vector<Placement> Placed(const std::vector<NodeStatus>& nodes,
                              const std::vector<VmStatus>& vms, Time last_start = kNever) {
  return Place(kNow, last_start, nodes, vms);
}

TEST(Place, NodeLost_ItsMachineStartsOnTheOther) {
  const auto out = Placed(OnlyTheSecond(), {Lost(1)});
  EXPECT_EQ(out[0].why, Why::kStart);
  EXPECT_EQ(out[0].node, 2U);
}

TEST(Place, PreferredNodeUsable_GoesThere) {
  VmStatus vm = Lost(1);
  vm.policy.preferred = 2;
  EXPECT_EQ(Placed({{1, true, 500}, {2, true, 100}}, {vm})[0].node, 2U);
}

TEST(Place, NoPreference_GoesWhereTheMostRoomIs) {
  EXPECT_EQ(Placed(BothNodes(), {RunsOn(1, 1), Lost(2)})[1].node, 2U);
}

TEST(Place, NodeThatLacksWhatItNeeds_IsNoCandidate) {
  VmStatus vm = Lost(1);
  vm.policy.preferred = 1;
  vm.barred = {1};
  EXPECT_EQ(Placed(BothNodes(), {vm})[0].node, 2U);
  vm.barred = {2};
  const auto out = Placed(OnlyTheSecond(), {vm});
  EXPECT_EQ(out[0].node, 0U);
  EXPECT_EQ(out[0].why, Why::kNoNetwork);
}

TEST(Place, OneNodeLacksWhatItNeedsAndTheOtherRoom_IsWithoutRoom) {
  VmStatus vm = Lost(1, 1'000);
  vm.barred = {1};
  EXPECT_EQ(Placed(BothNodes(), {vm})[0].why, Why::kNoCapacity);
}

TEST(Place, HomeLacksWhatItNeeds_DoesNotGoBack) {
  VmStatus vm = RunsOn(2, 1);
  vm.policy.preferred = 1;
  vm.policy.fail_back = true;
  EXPECT_EQ(Placed(BothNodes(), {vm})[0].why, Why::kFailBack);
  vm.barred = {1};
  EXPECT_EQ(Placed(BothNodes(), {vm})[0].why, Why::kStays);
}

TEST(Place, OwnerLacksWhatItNeeds_StaysWhereItRuns) {
  VmStatus vm = RunsOn(2, 1);
  vm.barred = {2};
  EXPECT_EQ(Placed(BothNodes(), {vm})[0].why, Why::kStays);
}

TEST(SurvivesLoss, OtherNodeLacksWhatAMachineNeeds_DoesNot) {
  VmStatus vm = RunsOn(1, 1);
  const std::vector<NodeStatus> nodes = BothNodes();
  EXPECT_TRUE(SurvivesLossOfAnyNode(nodes, std::vector{vm}));
  vm.barred = {2};
  EXPECT_FALSE(SurvivesLossOfAnyNode(nodes, std::vector{vm}));
}

TEST(Place, LaterGroup_WaitsUntilTheEarlierRuns) {
  VmStatus later = Lost(1);
  later.policy.priority = 1;
  auto out = Placed(OnlyTheSecond(), {later, Lost(2)});
  EXPECT_EQ(out[0].vm, 2U);
  EXPECT_EQ(out[0].why, Why::kStart);
  EXPECT_EQ(out[1].why, Why::kWaitsForGroup);
  out = Placed(OnlyTheSecond(), {later, RunsOn(2, 2)});
  EXPECT_EQ(out[1].why, Why::kStart);
}

TEST(Place, EarlierGroupCannotRun_LaterDoesNotWait) {
  VmStatus later = Lost(2);
  later.policy.priority = 1;
  const auto out = Placed(OnlyTheSecond(), {Lost(1, 1'000), later});
  EXPECT_EQ(out[0].why, Why::kNoCapacity);
  EXPECT_EQ(out[1].why, Why::kStart);
}

TEST(Place, StartDelay_OneAfterTheOther) {
  VmStatus first = Lost(1);
  VmStatus second = Lost(2);
  first.policy.start_delay = second.policy.start_delay = {5'000'000};
  const auto out = Placed(OnlyTheSecond(), {first, second});
  EXPECT_EQ(out[0].why, Why::kStart);
  EXPECT_EQ(out[1].why, Why::kWaitsForDelay);
  EXPECT_EQ(Placed(OnlyTheSecond(), {second}, kNow - Time{5'000'000})[0].why, Why::kStart);
}

TEST(Place, MostRestartsInTheWindow_StaysDownUntilTheWindowMovesOn) {
  VmStatus vm = Lost(1);
  vm.policy.most_restarts = 2;
  vm.restarts = {kNow - Time{1}, kNow - Time{2}};
  EXPECT_EQ(Placed(OnlyTheSecond(), {vm})[0].why, Why::kTooManyRestarts);
  vm.restarts[1] = kNow - vm.policy.window;
  EXPECT_EQ(Placed(OnlyTheSecond(), {vm})[0].why, Why::kStart);
}

TEST(Place, StayDown_OnlyAfterAFailure) {
  VmStatus vm = Lost(1);
  vm.policy.stay_down = true;
  EXPECT_EQ(Placed(OnlyTheSecond(), {vm})[0].why, Why::kStaysDown);
  vm.failed = false;
  EXPECT_EQ(Placed(OnlyTheSecond(), {vm})[0].why, Why::kStart);
}

TEST(Place, Apart_NeverOnOneNode) {
  VmStatus first = RunsOn(2, 1);
  VmStatus second = Lost(2);
  first.policy.apart = second.policy.apart = 7;
  EXPECT_EQ(Placed(BothNodes(), {first, second})[1].node, 1U);
  EXPECT_EQ(Placed(OnlyTheSecond(), {first, second})[1].why, Why::kApart);
}

TEST(Place, FailBack_OnlyIfAskedAndThereIsRoom) {
  VmStatus vm = RunsOn(2, 1);
  vm.policy.preferred = 1;
  EXPECT_EQ(Placed(BothNodes(), {vm})[0].why, Why::kStays);
  vm.policy.fail_back = true;
  EXPECT_EQ(Placed(BothNodes(), {vm})[0].why, Why::kFailBack);
  EXPECT_EQ(Placed(BothNodes(), {vm})[0].node, 1U);
  EXPECT_EQ(Placed(OnlyTheSecond(), {vm})[0].why, Why::kStays);
  EXPECT_EQ(Placed({{1, true, 5}, {2, true, 100}}, {vm})[0].why, Why::kStays);
}

// ---- more than two nodes

std::vector<NodeStatus> FirstOfFiveLost() {
  return {{1, false, 100}, {2, true, 100}, {3, true, 60}, {4, true, 100}, {5, true, 30}};
}
std::vector<VmStatus> LostMachines(std::uint32_t count, std::uint64_t memory = 10) {
  std::vector<VmStatus> vms;
  for (std::uint32_t vm = 1; vm <= count; ++vm) vms.push_back(Lost(vm, memory));
  return vms;
}
std::map<NodeId, int> CountByNode(const std::vector<Placement>& placed) {
  std::map<NodeId, int> count;
  for (const Placement& one : placed) ++count[one.node];
  return count;
}

TEST(Place, ManyLost_SpreadByWhatRoomEachHas) {
  const auto count = CountByNode(Placed(FirstOfFiveLost(), LostMachines(14)));
  // 100, 60, 100 and 30: each keeps about as much as the others.
  EXPECT_EQ(count, (std::map<NodeId, int>{{2, 6}, {3, 2}, {4, 6}}));
  EXPECT_EQ(CountByNode(Placed(FirstOfFiveLost(), LostMachines(29))),
            (std::map<NodeId, int>{{2, 10}, {3, 6}, {4, 10}, {5, 3}}));
  const auto full = CountByNode(Placed(FirstOfFiveLost(), LostMachines(31)));
  EXPECT_EQ(full.at(0), 2);  // no room
}

TEST(Place, ApartGroup_OneOnEachNodeAndNoMore) {
  std::vector<VmStatus> vms = LostMachines(5, 1);
  for (VmStatus& vm : vms) vm.policy.apart = 1;
  const auto out = Placed(FirstOfFiveLost(), vms);
  EXPECT_EQ(CountByNode(out), (std::map<NodeId, int>{{0, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}}));
  EXPECT_EQ(out[4].why, Why::kApart);
}

// Whatever of a plan has been done already, in whatever order, those who see it agree on the rest.
TEST(Place, PlanHalfDone_TheRestOfItIsTheSame) {
  std::mt19937 source(1);
  const auto below = [&](std::uint32_t end) { return static_cast<std::uint32_t>(source() % end); };
  for (int round = 0; round < 300; ++round) {
    std::vector<VmStatus> vms;
    for (std::uint32_t vm = 1; vm <= 12; ++vm) {
      vms.push_back(Lost(vm, 1 + below(20)));
      if (below(3) == 0) vms.back().policy.apart = 1 + below(3);
      if (below(4) == 0) vms.back().policy.preferred = 1 + below(5);
    }
    const std::vector<Placement> plan = Placed(FirstOfFiveLost(), vms);
    for (int seen = 0; seen < 12; ++seen) {
      VmStatus& next = vms[below(12)];
      next.owner = plan[next.vm - 1].node;
      next.arriving = next.owner != 0;
      const std::vector<Placement> rest = Placed(FirstOfFiveLost(), vms);
      for (std::size_t i = 0; i < plan.size(); ++i)
        ASSERT_EQ(rest[i].node, plan[i].node) << "round " << round << ", machine " << i + 1;
    }
  }
}

TEST(Place, OwnersOverWhatTheyMayHave_GetNoMore) {
  VmStatus arriving = RunsOn(2, 1, 150);
  arriving.running = false;
  arriving.arriving = true;
  EXPECT_EQ(Placed(BothNodes(), {arriving, Lost(2)})[1].node, 1U);
  EXPECT_EQ(Placed(OnlyTheSecond(), {arriving, Lost(2)})[1].why, Why::kNoCapacity);
}

TEST(SurvivesLoss, FiveNodes_HoldsForAnyOneOfThem) {
  std::vector<NodeStatus> nodes;
  for (NodeId node = 1; node <= 5; ++node) nodes.push_back({node, true, 100});
  std::vector<VmStatus> vms;
  for (std::uint32_t vm = 1; vm <= 40; ++vm) vms.push_back(RunsOn(vm % 5 + 1, vm));
  EXPECT_TRUE(SurvivesLossOfAnyNode(nodes, vms));  // 80 of each 100 used: 20 free on each other one
  vms.push_back(RunsOn(3, 41));
  EXPECT_FALSE(SurvivesLossOfAnyNode(nodes, vms));  // of 3 alone, 90 would have to find room in 80
  vms.pop_back();
  vms[0].memory = 30;  // fits nowhere
  EXPECT_FALSE(SurvivesLossOfAnyNode(nodes, vms));
}

TEST(SurvivesLoss, RoomForTheOthersMachines_OrNot) {
  EXPECT_TRUE(SurvivesLossOfAnyNode(BothNodes(), std::vector{RunsOn(1, 1, 50), RunsOn(2, 2, 50)}));
  EXPECT_FALSE(SurvivesLossOfAnyNode(BothNodes(), std::vector{RunsOn(1, 1, 50), RunsOn(2, 2, 51)}));
}

TEST(SurvivesLoss, MachineThatStaysDown_NeedsNoRoom) {
  VmStatus vm = RunsOn(1, 1, 50);
  vm.policy.stay_down = true;
  EXPECT_TRUE(SurvivesLossOfAnyNode(BothNodes(), std::vector{vm, RunsOn(2, 2, 51)}));
}

}  // namespace
}  // namespace gemel::cluster
