// What /metrics shows, and what it never shows.
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <sstream>
#include <string>

#include "grpc/api_metrics.h"
#include "grpc/metrics_collector.h"
#include "grpc/node_health.h"

namespace gemel::daemon {
namespace {

std::string Text(const std::vector<prometheus::MetricFamily>& families) {
  return prometheus::TextSerializer().Serialize(families);
}

class MachineMetrics : public ::testing::Test {
 protected:
  MachineMetrics() {
    v1::VirtualMachine vm;
    vm.set_name("projects/p/vms/web");
    vm.set_uid("u1");
    vm.mutable_spec()->mutable_memory()->set_size_bytes(64);
    vm.mutable_status()->set_state(v1::VIRTUAL_MACHINE_STATE_RUNNING);
    vm.mutable_status()->set_restart_count(3);
    published_.vms.Put(vm.name(), vm);
    sample_.uid = "u1";
    sample_.realtime_ns = 1'500'000'000;
    sample_.statistics.vcpu_ns = {1'000'000'000, 500'000'000};
    sample_.statistics.exits = {{"port-write", 7}};
    sample_.statistics.devices = {{"blk0", {{"bytes_read", 512}, {"read_ns", 2'000'000'000}}},
                                  {"net0", {{"rx_packets", 9}, {"bytes_read", 1}}}};
  }
  std::string Show() {
    published_.samples.Put("projects/p/vms/web", sample_);
    return Text(MachineFamilies("n", published_));
  }
  static bool Has(const std::string& text, const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
  }

  Published published_;
  VmSample sample_;
};

TEST_F(MachineMetrics, Machine_HasItsLabels) {
  const std::string text = Show();
  const std::string labels = R"(node="n",project="p",vm="web")";
  EXPECT_TRUE(Has(text, "gemel_vm_state{" + labels + R"(,state="RUNNING"} 1)")) << text;
  EXPECT_TRUE(Has(text, "gemel_vm_restarts_total{" + labels + "} 3"));
  EXPECT_TRUE(Has(text, "gemel_vm_vcpu_seconds_total{" + labels + "} 1.5"));
  EXPECT_TRUE(Has(text, "gemel_vm_sample_time_seconds{" + labels + "} 1.5"));
  EXPECT_TRUE(Has(text, "gemel_vm_exits_total{" + labels + R"(,reason="port-write"} 7)"));
  EXPECT_TRUE(Has(text, "gemel_vm_disk_read_bytes_total{" + labels + R"(,device="blk0"} 512)"));
  EXPECT_TRUE(Has(text, "gemel_vm_disk_read_seconds_total{" + labels + R"(,device="blk0"} 2)"));
  EXPECT_TRUE(Has(text, "gemel_vm_net_receive_packets_total{" + labels + R"(,device="net0"} 9)"));
}

TEST_F(MachineMetrics, CounterOfAnotherKindOfDevice_IsNotShown) {
  EXPECT_EQ(
      Show().find(R"(gemel_vm_disk_read_bytes_total{node="n",project="p",vm="web",device="net0")"),
      std::string::npos);
}

TEST_F(MachineMetrics, SampleOfAnEarlierMachineOfThatName_IsNotShown) {
  sample_.uid = "u0";
  EXPECT_EQ(Show().find("gemel_vm_vcpu_seconds_total{"), std::string::npos);
}

TEST(NodeMetrics, Conditions_AreOneOrZero) {
  v1::Node node;
  node.set_name("nodes/n");
  auto& condition = *node.add_conditions();
  condition.set_condition("store");
  condition.set_health(v1::NODE_HEALTH_FAILED);
  EXPECT_NE(Text(NodeFamilies(node)).find(R"(gemel_node_healthy{node="n",condition="store"} 0)"),
            std::string::npos);
}

TEST(PoolMetrics, PoolThatCannotBeUsed_HasNoRoomAndNoneOfIt) {
  v1::Pool well, broken;
  well.set_pool("default");
  well.set_capacity_bytes(100);
  well.set_free_bytes(40);
  well.set_provisioned_bytes(300);
  broken.set_pool("nfs");
  broken.set_message("stale file handle");
  const std::string text = Text(PoolFamilies("n", {well, broken}));
  EXPECT_NE(text.find(R"(gemel_pool_capacity_bytes{node="n",pool="default"} 100)"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find(R"(gemel_pool_free_bytes{node="n",pool="default"} 40)"), std::string::npos);
  EXPECT_NE(text.find(R"(gemel_pool_provisioned_bytes{node="n",pool="default"} 300)"),
            std::string::npos);
  EXPECT_EQ(text.find(R"(gemel_pool_free_bytes{node="n",pool="nfs"})"), std::string::npos);
}

TEST(EventMetrics, EventsOfAnEarlierDaemon_AreNotCounted) {
  EventLog log("store");
  v1::Event event;
  event.set_type(v1::EVENT_TYPE_CREATED);
  log.Restore(1, event);
  log.Append(2, event);
  log.Append(3, event);
  EXPECT_NE(Text(EventFamilies("n", log.counts()))
                .find(R"(gemel_events_total{node="n",type="CREATED"} 2)"),
            std::string::npos);
  EXPECT_EQ(log.Kept(0).size(), 3U);
}

TEST(PoolHealth, PoolThatIsNearlyFull_IsDegraded) {
  EXPECT_EQ(PoolCondition("default", PoolSpace{100, 5}).health(), v1::NODE_HEALTH_OK);
  EXPECT_EQ(PoolCondition("default", PoolSpace{100, 4}).health(), v1::NODE_HEALTH_DEGRADED);
  const v1::HealthCondition broken =
      PoolCondition("nfs", std::unexpected(Error{Code::kUnavailable, "stale"}));
  EXPECT_EQ(broken.health(), v1::NODE_HEALTH_FAILED);
  EXPECT_EQ(broken.condition(), "pool/nfs");
  EXPECT_EQ(broken.message(), "stale");
}

TEST(ApiMetrics, MethodsThatAreThere_AreNamedAndOthersAreOther) {
  EXPECT_EQ(MethodLabel("/gemel.v1.VirtualMachines/Get"), "VirtualMachines/Get");
  EXPECT_EQ(MethodLabel("/gemel.v1.VirtualMachines/Invented"), "other");
  EXPECT_EQ(MethodLabel(""), "other");
  EXPECT_EQ(CodeLabel(5), "NOT_FOUND");
  EXPECT_EQ(CodeLabel(99), CodeLabel(2));
}

TEST(ApiMetrics, Calls_FallIntoBuckets) {
  ApiMetrics metrics;
  metrics.Unary("/gemel.v1.VirtualMachines/Get", 0, std::chrono::milliseconds(3));
  metrics.Unary("/gemel.v1.VirtualMachines/Get", 0, std::chrono::seconds(30));
  const std::string text = Text(metrics.registry()->Collect());
  EXPECT_NE(
      text.find(R"(gemel_api_request_seconds_count{code="OK",method="VirtualMachines/Get"} 2)"),
      std::string::npos)
      << text;
  EXPECT_NE(
      text.find(
          R"(gemel_api_request_seconds_bucket{code="OK",method="VirtualMachines/Get",le="0.005"} 1)"),
      std::string::npos)
      << text;
}

}  // namespace
}  // namespace gemel::daemon
