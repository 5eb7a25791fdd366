#include "cluster/policy.h"

#include <gtest/gtest.h>

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
