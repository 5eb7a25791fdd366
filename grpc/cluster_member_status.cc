// What a member of the cluster tells people, and what they may tell it.
#include <algorithm>
#include <map>
#include <utility>

#include "grpc/cluster_member.h"
#include "grpc/cluster_policy.h"
#include "grpc/convert.h"
#include "grpc/resource_name.h"

namespace gemel::daemon {
namespace {

using cluster::NodeId;
using cluster::VmState;
using cluster::Want;

std::string_view RecordWord(VmState state) {
  switch (state) {
    case VmState::kFree:
      return "free";
    case VmState::kFencing:
      return "fencing";
    case VmState::kStarting:
      return "starting";
    case VmState::kRunning:
      return "running";
    case VmState::kMoving:
      return "moving";
  }
  return "unknown";
}

std::string_view WantWord(Want want) {
  switch (want) {
    case Want::kLeave:
      return "leave";
    case Want::kRun:
      return "run";
    case Want::kGiveAway:
      return "give away";
  }
  return "unknown";
}

std::string_view ShallBeWord(v1::DesiredState desired) {
  if (desired == v1::DESIRED_STATE_STOPPED) return "stopped";
  return desired == v1::DESIRED_STATE_PAUSED ? "paused" : "running";
}

constexpr double kFastClock = 1.02;  // as at a join

bool WritesToTargets(const v1::VirtualMachineSpec& spec) {
  return std::any_of(spec.disks().begin(), spec.disks().end(),
                     [](const auto& disk) { return disk.has_iscsi() && !disk.read_only(); });
}

std::string EpochText(const cluster::Epoch& epoch) {
  if (epoch.counter == 0) return "";
  return fmt::format("{}.{}", epoch.incarnation, epoch.counter);
}

}  // namespace

v1::ClusterNode ClusterMember::NodeMessage(NodeId node, const ClusterSeen& seen) const {
  v1::ClusterNode message;
  message.set_name("nodes/" + NameOf(node));
  message.set_number(node);
  if (const auto found = specs_.nodes().find(node); found != specs_.nodes().end()) {
    const etcd::NodeInfo& info = found->second.value;
    message.set_drained(info.drained);
    message.set_address(info.address);
    message.set_version(info.version);
    message.set_memory_bytes(info.memory);
    for (const etcd::NodeNetwork& network : info.networks) message.add_networks(network.name);
    for (const auto& [other, entry] : specs_.nodes())
      if (CanFence(info.name, other)) message.add_fenced_by("nodes/" + entry.value.name);
  }
  const auto session = seen.sessions.find(node);
  if (session == seen.sessions.end()) return message;
  message.set_live(session->second.state == cluster::SessionState::kOpen &&
                   session->second.id.number != 0);
  message.set_session(
      fmt::format("{}.{}", session->second.id.incarnation, session->second.id.number));
  message.set_off_by(std::string(OffWord(session->second.off)));
  if (const auto beat = beats_.find(node); beat != beats_.end()) {
    const std::int64_t age = (outside_.now() - beat->second.at).us;
    message.mutable_beat_age()->set_seconds(age / 1'000'000);
    message.mutable_beat_age()->set_nanos(static_cast<std::int32_t>(age % 1'000'000 * 1000));
  }
  return message;
}

void ClusterMember::FillMachine(const ClusterManager::MachineStatus& status, const Machine& machine,
                                v1::ClusterMachine& out) const {
  out.set_name(machine.spec.machine.name());
  out.set_number(status.vm);
  if (status.record.owner != 0) out.set_owner("nodes/" + NameOf(status.record.owner));
  out.set_epoch(EpochText(status.record.epoch));
  out.set_record(std::string(RecordWord(status.record.state)));
  out.set_wish(std::string(WantWord(machine.waits ? machine.wish.want : status.want)));
  out.set_why(std::string(WhyWord(machine.wish.why)));
  out.set_refused(status.refused);
  out.set_unreadable(status.unreadable);
  out.add_fences("latch");
  if (machine.spec.machine.spec().disks_size() == 0) out.add_fences("no disk");
  if (RefusesNobody(machine.spec.machine.spec()))
    out.add_fences(std::string(FenceOf(machine, status.record.owner)));
  if (!WritesToTargets(machine.spec.machine.spec())) return;
  // What its targets can do was seen by whoever claimed them last.
  IscsiClusterDisks::Known known;
  if (outside_.known && status.record.owner == node_) known = outside_.known(status.vm);
  out.add_fences(fmt::format("scsi-pr ({})", known.claimed ? block::ToString(known.strength)
                                                           : "not claimed by this gemeld"));
}

std::map<std::string, double> ClusterMember::ClockRates() const {
  std::map<std::string, double> rates;
  for (const auto& [node, beat] : beats_)
    if (const auto rate = beat.rate.rate(); rate && node != node_) rates[NameOf(node)] = *rate;
  return rates;
}

// Whether what is lost with any one node would fit on the others; of one node alone nothing is said.
bool ClusterMember::HasRoomForALoss(const v1::ClusterStatus& status) const {
  std::vector<cluster::NodeStatus> usable;
  std::map<std::string, NodeId> numbers;
  for (const v1::ClusterNode& node : status.nodes()) {
    numbers[node.name()] = node.number();
    if (node.live() && !node.drained())
      usable.push_back({node.number(), true, node.memory_bytes()});
  }
  std::vector<cluster::VmStatus> placed;
  for (const v1::ClusterMachine& machine : status.machines()) {
    if (machine.owner().empty()) continue;
    const v1::VirtualMachineSpec& spec = machines_.at(machine.number()).spec.machine.spec();
    cluster::VmStatus& vm = placed.emplace_back();
    vm.vm = machine.number();
    vm.memory = MemoryNeed(spec);
    vm.policy.stay_down = spec.failover().stay_down();
    vm.owner = numbers[machine.owner()];
    vm.barred = BarredOf(spec);
  }
  return usable.size() < 2 || cluster::SurvivesLossOfAnyNode(usable, placed);
}

// What somebody should look at.
void ClusterMember::AddAlerts(v1::ClusterStatus& out) const {
  const std::string weaker =
      fmt::format("scsi-pr ({})", block::ToString(block::FenceStrength::kWeaker));
  for (const v1::ClusterMachine& machine : out.machines()) {
    if (machine.refused())
      out.add_alerts(fmt::format("{}: its disk has a later owner's key", machine.name()));
    if (!machine.unreadable().empty())
      out.add_alerts(fmt::format("{}: {}", machine.name(), machine.unreadable()));
    for (const std::string& fence : machine.fences()) {
      if (fence == kOffByPerson)
        out.add_alerts(
            fmt::format("{}: its disk refuses nobody: after the loss of its node it is not started "
                        "before somebody has said that the node is off",
                        machine.name()));
      if (fence == weaker)
        out.add_alerts(
            fmt::format("{}: a weaker fence: its target forgets who may write when it "
                        "restarts, or cannot abort what is under way",
                        machine.name()));
    }
  }
  if (manager_.alarmed()) out.add_alerts("etcd has gone back to an earlier state");
  if (!HasRoomForALoss(out))
    out.add_alerts(
        "what runs on one of the nodes would find no room on the others, or not its networks");
  for (const v1::ClusterNode& node : out.nodes())
    if (!node.live() && !node.drained())
      out.add_alerts(
          fmt::format("{} is gone: what is lost with another is not taken over", node.name()));
  for (const auto& [name, rate] : ClockRates())
    if (rate > kFastClock)
      out.add_alerts(
          fmt::format("the clock of nodes/{} runs {:.1f} % faster than this node's: one "
                      "of them is wrong",
                      name, (rate - 1) * 100));
}

void ClusterMember::FillStatus(v1::ClusterStatus& out) const {
  const ClusterSeen seen = SeenSessions();
  out.set_node("nodes/" + self_.name);
  out.set_has_session(manager_.live());
  const keeper::View* const keeper = outside_.keeper->view();
  if (const Status may = MayChange(); !may)
    out.set_trouble(may.error().message);
  else if (!manager_.live())
    out.set_trouble(keeper->trouble.empty() ? "no session yet" : keeper->trouble);
  for (const auto& [node, entry] : specs_.nodes()) *out.add_nodes() = NodeMessage(node, seen);
  for (const ClusterManager::MachineStatus& status : manager_.machines()) {
    const auto found = machines_.find(status.vm);
    if (found == machines_.end() || !found->second.taken || found->second.gone) continue;
    FillMachine(status, found->second, *out.add_machines());
  }
  AddAlerts(out);
}

void ClusterMember::FillObstacles(const Machine& machine, v1::Explanation& out) const {
  for (const auto& [node, why] : ObstaclesOf(machine.spec.machine.spec())) {
    v1::NodeObstacle& obstacle = *out.add_obstacles();
    obstacle.set_node("nodes/" + NameOf(node));
    obstacle.set_text(why);
  }
}

bool ClusterMember::Explain(const std::string& name, v1::Explanation& out) const {
  for (const ClusterManager::MachineStatus& status : manager_.machines()) {
    const auto found = machines_.find(status.vm);
    if (found == machines_.end() || found->second.spec.machine.name() != name) continue;
    const Machine& machine = found->second;
    FillMachine(status, machine, *out.mutable_machine());
    const v1::ClusterMachine& shown = out.machine();
    std::string text =
        fmt::format("{}: {} shall be {}; its record is {}{}{}; node {} would {} it ({})", name,
                    machine.spec.machine.name(), ShallBeWord(machine.spec.machine.desired_state()),
                    shown.record(), shown.owner().empty() ? "" : " of ", shown.owner(), self_.name,
                    shown.wish(), shown.why());
    if (machine.told && !machine.told->reason.empty())
      text += fmt::format("; {}: {}", machine.told->reason, machine.told->message);
    FillObstacles(machine, out);
    out.set_text(std::move(text));
    for (const auto& [at_ns, said] : machine.decisions) {
      v1::Decision& decision = *out.add_decisions();
      decision.mutable_time()->set_seconds(at_ns / 1'000'000'000);
      decision.mutable_time()->set_nanos(static_cast<std::int32_t>(at_ns % 1'000'000'000));
      decision.set_text(said);
    }
    return true;
  }
  return false;
}

void ClusterMember::SetDrained(const std::string& name, bool drained, const DrainReply& reply) {
  const NodeId node = name.starts_with("nodes/") ? NumberOf(std::string(LastPart(name))) : 0;
  if (const Status may = MayChange(); !may)
    return reply(std::unexpected(FromError(may.error(), "NO_MAJORITY")));
  if (node == 0) return reply(std::unexpected(ResourceNotFound("node", name)));
  const etcd::Entry<etcd::NodeInfo>& entry = specs_.nodes().at(node);
  etcd::NodeInfo info = entry.value;
  if (info.drained == drained) return reply(NodeMessage(node, SeenSessions()));
  info.drained = drained;
  specs_.PutNode(node, entry.changed, info,
                 [this, alive = std::weak_ptr(alive_), node, drained, reply](const Status& put) {
                   if (alive.expired()) return;
                   if (!put)
                     return reply(std::unexpected(FromError(put.error(), "CHANGED_MEANWHILE")));
                   v1::ClusterNode message = NodeMessage(node, SeenSessions());
                   message.set_drained(drained);
                   events_.Tell(
                       drained ? v1::EVENT_TYPE_NODE_DRAINED : v1::EVENT_TYPE_NODE_UNDRAINED,
                       message.name(), "", "", "REQUESTED",
                       drained ? "it gives its machines away" : "it may have machines again",
                       outside_.clock->RealtimeNow());
                   reply(std::move(message));
                 });
}

// The keeper closes the session of a node that was drained, once nothing is left here.
void ClusterMember::SayDrained() {
  const auto found = specs_.nodes().find(node_);
  const keeper::View* const keeper = outside_.keeper->view();
  if (found == specs_.nodes().end() || keeper == nullptr) return;
  const bool drained = found->second.value.drained;
  if (keeper->drained != drained) outside_.keeper->Say(keeper::Drained{drained});
}

void ClusterMember::Decide(Machine& machine, std::string text) {
  constexpr std::size_t kKept = 32;
  if (machine.decisions.size() == kKept) machine.decisions.pop_front();
  machine.decisions.emplace_back(outside_.clock->RealtimeNow(), std::move(text));
}

}  // namespace gemel::daemon
