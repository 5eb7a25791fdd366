#include "grpc/cluster_metrics.h"

#include <chrono>
#include <future>
#include <utility>

#include "grpc/resource_name.h"

namespace gemel::daemon {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using Labels = std::vector<ClientMetric::Label>;

constexpr auto kPatience = std::chrono::milliseconds(2500);
constexpr double kNsPerSecond = 1e9;

class Gauges {
 public:
  explicit Gauges(std::string node) : node_(std::move(node)) {}
  // The family that following values are of.
  void Begin(std::string name, std::string help) {
    MetricFamily& family = all_.emplace_back();
    family.name = std::move(name);
    family.help = std::move(help);
    family.type = prometheus::MetricType::Gauge;
  }
  void Add(Labels more, double value) {
    ClientMetric& metric = all_.back().metric.emplace_back();
    metric.label = {{"node", node_}};
    metric.label.insert(metric.label.end(), more.begin(), more.end());
    metric.gauge.value = value;
  }
  std::vector<MetricFamily> Take() && { return std::move(all_); }

 private:
  const std::string node_;
  std::vector<MetricFamily> all_;
};

Labels PeerLabel(const v1::ClusterNode& node) {
  return {{"peer", std::string(LastPart(node.name()))}};
}

Labels MachineLabels(const v1::ClusterMachine& machine) {
  return {{"project", std::string(LastPart(ProjectOf(machine.name())))},
          {"vm", std::string(LastPart(machine.name()))}};
}

void AddNodes(const ClusterSight& sight, Gauges& to) {
  to.Begin("gemel_cluster_node_live", "1: the peer's session is open, as this node sees it.");
  for (const v1::ClusterNode& node : sight.status.nodes()) to.Add(PeerLabel(node), node.live());
  to.Begin("gemel_cluster_node_drained", "1: the peer was drained.");
  for (const v1::ClusterNode& node : sight.status.nodes()) to.Add(PeerLabel(node), node.drained());
  to.Begin("gemel_cluster_clock_rate",
           "How fast the peer's clock runs beside this node's; below 1 it may only be busy.");
  for (const auto& [peer, rate] : sight.clock_rates) to.Add({{"peer", peer}}, rate);
}

void AddMachines(const ClusterSight& sight, Gauges& to) {
  to.Begin("gemel_cluster_vm_refused", "1: its disk has a later owner's key.");
  for (const v1::ClusterMachine& machine : sight.status.machines())
    to.Add(MachineLabels(machine), machine.refused());
  to.Begin("gemel_cluster_vm_fence", "1 for each thing that stands between it and two of it.");
  for (const v1::ClusterMachine& machine : sight.status.machines()) {
    for (const std::string& fence : machine.fences()) {
      Labels labels = MachineLabels(machine);
      labels.push_back({"fence", fence});
      to.Add(std::move(labels), 1);
    }
  }
}

void AddEtcd(const EtcdHealth& etcd, Gauges& to) {
  to.Begin("gemel_cluster_etcd_no_space", "1: etcd takes no writes, its quota is used up.");
  to.Add({}, etcd.no_space);
  to.Begin("gemel_cluster_etcd_corrupt", "1: a member of etcd has found its data damaged.");
  to.Add({}, etcd.corrupt);
  to.Begin("gemel_cluster_member_answers", "1: the member of etcd answers this node.");
  for (const EtcdHealth::Member& member : etcd.members)
    to.Add({{"member", member.name}}, member.answers);
  to.Begin("gemel_cluster_member_round_trip_seconds", "How long it takes the member to answer.");
  for (const EtcdHealth::Member& member : etcd.members) {
    if (member.answers)
      to.Add({{"member", member.name}}, static_cast<double>(member.round_trip_ns) / kNsPerSecond);
  }
  to.Begin("gemel_cluster_member_stored_bytes", "What etcd's database takes at the member.");
  for (const EtcdHealth::Member& member : etcd.members) {
    if (member.answers) to.Add({{"member", member.name}}, static_cast<double>(member.stored_bytes));
  }
}

}  // namespace

std::vector<MetricFamily> ClusterFamilies(const ClusterSight& sight) {
  Gauges gauges(std::string(LastPart(sight.status.node())));
  gauges.Begin("gemel_cluster_info", "1, with the name of the cluster.");
  gauges.Add({{"cluster", sight.status.cluster()}}, 1);
  gauges.Begin("gemel_cluster_has_session", "1: this node may take and start machines.");
  gauges.Add({}, sight.status.has_session());
  AddNodes(sight, gauges);
  AddMachines(sight, gauges);
  AddEtcd(sight.etcd, gauges);
  return std::move(gauges).Take();
}

std::vector<MetricFamily> ClusterCollector::Collect() const {
  if (posted_->exchange(true)) return {};
  auto done = std::make_shared<std::promise<ClusterSight>>();
  std::future<ClusterSight> looked = done->get_future();
  loop_->Post([look = look_, posted = posted_, done] {
    posted->store(false);
    ClusterSight sight;
    look(sight);
    done->set_value(std::move(sight));
  });
  if (looked.wait_for(kPatience) != std::future_status::ready) return {};
  ClusterSight sight = looked.get();
  sight.etcd = probe_->health();
  return ClusterFamilies(sight);
}

}  // namespace gemel::daemon
