#include "grpc/cluster_metrics.h"

#include <gtest/gtest.h>

#include <optional>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_etcd_admin.h"

namespace gemel::daemon {
namespace {

// The value of the family with that label; nullopt: there is none.
std::optional<double> Value(const std::vector<prometheus::MetricFamily>& all,
                            const std::string& name, const std::string& label = "") {
  for (const prometheus::MetricFamily& family : all) {
    if (family.name != name) continue;
    for (const prometheus::ClientMetric& metric : family.metric)
      for (const auto& one : metric.label)
        if (label.empty() || one.value == label) return metric.gauge.value;
  }
  return std::nullopt;
}

ClusterSight Sight() {
  ClusterSight sight;
  sight.status.set_cluster("rack7");
  sight.status.set_node("nodes/a");
  sight.status.set_has_session(true);
  v1::ClusterNode& a = *sight.status.add_nodes();
  a.set_name("nodes/a");
  a.set_live(true);
  v1::ClusterNode& b = *sight.status.add_nodes();
  b.set_name("nodes/b");
  b.set_drained(true);
  v1::ClusterMachine& web = *sight.status.add_machines();
  web.set_name("projects/p/vms/web");
  web.add_fences("latch");
  web.add_fences("scsi-pr (weaker)");
  sight.clock_rates["b"] = 1.03;
  return sight;
}

TEST(ClusterFamilies, NodesAndMachines_AreShownWithTheirNames) {
  const auto all = ClusterFamilies(Sight());
  EXPECT_EQ(Value(all, "gemel_cluster_info", "rack7"), 1);
  EXPECT_EQ(Value(all, "gemel_cluster_has_session"), 1);
  EXPECT_EQ(Value(all, "gemel_cluster_node_live", "a"), 1);
  EXPECT_EQ(Value(all, "gemel_cluster_node_live", "b"), 0);
  EXPECT_EQ(Value(all, "gemel_cluster_node_drained", "b"), 1);
  EXPECT_EQ(Value(all, "gemel_cluster_clock_rate", "b"), 1.03);
  EXPECT_EQ(Value(all, "gemel_cluster_vm_fence", "scsi-pr (weaker)"), 1);
  EXPECT_EQ(Value(all, "gemel_cluster_vm_refused", "web"), 0);
}

TEST(ClusterFamilies, Etcd_IsShownByMember) {
  ClusterSight sight = Sight();
  sight.etcd.no_space = true;
  sight.etcd.members = {{"a", true, 2'000'000, true, 4096}, {"w", false, 0, false, 0}};
  const auto all = ClusterFamilies(sight);
  EXPECT_EQ(Value(all, "gemel_cluster_etcd_no_space"), 1);
  EXPECT_EQ(Value(all, "gemel_cluster_etcd_corrupt"), 0);
  EXPECT_EQ(Value(all, "gemel_cluster_member_answers", "w"), 0);
  EXPECT_EQ(Value(all, "gemel_cluster_member_round_trip_seconds", "a"), 0.002);
  EXPECT_FALSE(Value(all, "gemel_cluster_member_round_trip_seconds", "w").has_value());
  EXPECT_EQ(Value(all, "gemel_cluster_member_stored_bytes", "a"), 4096);
}

TEST(AskEtcd, MembersThatAnswerOrDoNot_AreToldApart) {
  etcd::FakeEtcdAdmin::State state;
  state.members = {{1, "a", {}, {"https://10.0.0.1:2379"}, false},
                   {2, "w", {}, {"https://10.0.0.3:2379"}, false},
                   {3, "b", {}, {"https://10.0.0.2:2379"}, false}};
  state.away = {2};
  state.alarms = {{1, true}};
  etcd::FakeEtcdAdmin admin(&state);
  const testing::FakeClock clock;
  const EtcdHealth health = AskEtcd(admin, clock);
  ASSERT_EQ(health.members.size(), 3U);
  EXPECT_TRUE(health.members[0].answers);
  EXPECT_TRUE(health.members[0].leader);
  EXPECT_FALSE(health.members[1].answers);
  EXPECT_TRUE(health.members[2].answers);
  EXPECT_FALSE(health.members[2].leader);
  EXPECT_TRUE(health.no_space);
  EXPECT_FALSE(health.corrupt);
}

TEST(AskEtcd, WithoutAMajority_AsksForNothingThatNeedsOne) {
  etcd::FakeEtcdAdmin::State state;
  state.members = {{1, "a", {}, {"https://10.0.0.1:2379"}, false},
                   {2, "b", {}, {"https://10.0.0.2:2379"}, false},
                   {3, "", {}, {}, true}};
  state.away = {2};
  state.alarms = {{1, true}};
  etcd::FakeEtcdAdmin admin(&state);
  const testing::FakeClock clock;
  const EtcdHealth health = AskEtcd(admin, clock);
  EXPECT_TRUE(health.members[0].answers);
  EXPECT_FALSE(health.members[1].answers);
  EXPECT_FALSE(health.members[2].answers);
  EXPECT_FALSE(health.no_space);
}

}  // namespace
}  // namespace gemel::daemon
