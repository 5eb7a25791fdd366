// What a member of the cluster makes of what it sees: wishes, and how each machine stands.
#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"
#include "grpc/cluster_member.h"
#include "grpc/cluster_networks.h"
#include "grpc/cluster_policy.h"
#include "grpc/convert.h"
#include "grpc/resource_name.h"

namespace gemel::daemon {
namespace {

using cluster::NodeId;
using cluster::SessionState;
using cluster::VmState;
using Why = cluster::Placement::Why;

bool IsOff(const ClusterSpec& spec) {
  return spec.machine.desired_state() == v1::DESIRED_STATE_STOPPED || spec.deleting;
}

// Whether it will not run before somebody changes something.
bool IsStuck(Why why) {
  return why == Why::kStaysDown || why == Why::kTooManyRestarts || why == Why::kNoCapacity ||
         why == Why::kApart || why == Why::kNoNetwork;
}

std::string Describe(const ClusterStanding& standing) {
  static constexpr const char* kStates[] = {"nobody's", "being fenced by", "being started by",
                                            "run by", "given away by"};
  std::string text =
      fmt::format("it is {}{}{} in epoch {}.{}", kStates[static_cast<int>(standing.record)],
                  standing.owner.empty() ? "" : " ", standing.owner, standing.epoch.incarnation,
                  standing.epoch.counter);
  if (!standing.reason.empty()) text += fmt::format(" ({}: {})", standing.reason, standing.message);
  return text;
}

std::string Capitals(std::string_view word) {
  std::string text(word);
  for (char& c : text) c = c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  return text;
}

}  // namespace

bool IsPaused(const ClusterSpec& spec) {
  return spec.machine.desired_state() == v1::DESIRED_STATE_PAUSED && !spec.deleting;
}

// Everything that follows from what etcd and the processes show, in one pass.
void ClusterMember::Weave() {
  if (!began_ || !specs_.known() || !manager_.shown()) return;
  if (!manager_.alarmed()) {
    NoteGone();
    DropSpecs();
    TakeSpecs();
    SayWhoIAm();
    TellPeers();
    SayDrained();
    StopThoseThatEnded();
    WeighAll();
    EndTheSilent();
    DeleteTheDeleted(manager_.machines());
    SeeToFences();
  }
  TellStandings(manager_.machines());
  TellOfNodes();
}

cluster::NodeId ClusterMember::NumberOf(const std::string& name) const {
  for (const auto& [node, entry] : specs_.nodes())
    if (entry.unreadable.empty() && entry.value.name == name) return node;
  return 0;
}

std::string ClusterMember::NameOf(NodeId node) const {
  if (node == 0) return "";
  const auto found = specs_.nodes().find(node);
  if (found != specs_.nodes().end() && !found->second.value.name.empty())
    return found->second.value.name;
  return fmt::format("{}", node);
}

ClusterSeen ClusterMember::SeenSessions() const {
  ClusterSeen seen;
  for (const ClusterManager::PeerStatus& peer : manager_.peers()) {
    seen.sessions[peer.node] = peer.record;
    seen.session_changes[peer.node] = peer.changed;
  }
  if (const keeper::View* keeper = outside_.keeper->view(); keeper != nullptr)
    seen.sessions[node_] = {
        keeper->session, keeper->opened.value != 0 ? SessionState::kOpen : SessionState::kClosed};
  return seen;
}

ClusterSeen ClusterMember::Seen() const {
  ClusterSeen seen = SeenSessions();
  for (const ClusterManager::MachineStatus& status : manager_.machines()) {
    if (!status.unreadable.empty()) continue;
    seen.records[status.vm] = status.record;
    seen.record_changes[status.vm] = status.changed;
  }
  return seen;
}

WishedVm ClusterMember::WishedOf(ClusterVm vm, const Machine& machine,
                                 const Numbers& numbers) const {
  const v1::VirtualMachineSpec& spec = machine.spec.machine.spec();
  const v1::FailoverSpec& failover = spec.failover();
  const auto group = numbers.groups.find(failover.anti_affinity_group());
  const auto preferred = numbers.nodes.find(std::string(LastPart(failover.preferred_node())));
  WishedVm wished;
  wished.vm = vm;
  wished.policy = ToPolicy(failover, preferred == numbers.nodes.end() ? 0 : preferred->second,
                           group == numbers.groups.end() ? 0 : group->second);
  wished.memory = MemoryNeed(spec);
  wished.off = IsOff(machine.spec);
  wished.asked = machine.revision;
  wished.paused = IsPaused(machine.spec);
  wished.here = machine.begun;
  wished.barred = BarredOf(spec);
  wished.leaves =
      !machine.begun && !machine.failure.empty() &&
      std::find(wished.barred.begin(), wished.barred.end(), node_) != wished.barred.end();
  return wished;
}

std::map<NodeId, std::string> ClusterMember::ObstaclesOf(const v1::VirtualMachineSpec& spec) const {
  std::map<NodeId, std::string> obstacles;
  for (const auto& [node, entry] : specs_.nodes())
    if (std::string why = NetworkObstacle(spec, entry.value.networks); !why.empty())
      obstacles[node] = std::move(why);
  return obstacles;
}

std::vector<NodeId> ClusterMember::BarredOf(const v1::VirtualMachineSpec& spec) const {
  std::vector<NodeId> barred;
  for (const auto& [node, why] : ObstaclesOf(spec)) barred.push_back(node);
  return barred;
}

std::string ClusterMember::DescribeObstacles(const Machine& machine) const {
  std::string text;
  for (const auto& [node, why] : ObstaclesOf(machine.spec.machine.spec()))
    text += fmt::format("{}not on nodes/{}: {}", text.empty() ? "" : "; ", NameOf(node), why);
  return text;
}

// A network that was asked for a moment ago comes: who waits for the machine's start is not told that it
// will not.
bool ClusterMember::NetworksChange(const Machine& machine) const {
  const auto own = specs_.nodes().find(node_);
  if (own == specs_.nodes().end() || own->second.value.networks != outside_.records->Networks())
    return true;  // this node's are about to be told
  return std::ranges::any_of(specs_.nodes(), [&](const auto& node) {
    return daemon::NetworksChange(machine.spec.machine.spec(), node.second.value.networks);
  });
}

// All nodes number the groups alike.
ClusterMember::Numbers ClusterMember::NumbersOfAll() const {
  Numbers numbers;
  for (const auto& [vm, machine] : machines_)
    if (machine.taken && !machine.gone)
      numbers.groups[machine.spec.machine.spec().failover().anti_affinity_group()] = 0;
  numbers.groups.erase("");
  std::uint32_t next = 0;
  for (auto& [group, number] : numbers.groups) number = ++next;
  for (const auto& [node, entry] : specs_.nodes())
    if (entry.unreadable.empty()) numbers.nodes.emplace(entry.value.name, node);
  return numbers;
}

void ClusterMember::WeighAll() {
  const Numbers numbers = NumbersOfAll();
  std::vector<WishedNode> nodes;
  for (const auto& [node, entry] : specs_.nodes())
    nodes.push_back({node, entry.value.memory, entry.value.drained});
  std::vector<WishedVm> wished;
  for (const auto& [vm, machine] : machines_)
    if (machine.taken && !machine.gone) wished.push_back(WishedOf(vm, machine, numbers));
  const ClusterSeen seen = Seen();
  std::set<ClusterVm> waiting;
  for (const ClusterManager::MachineStatus& status : manager_.machines())
    if (WaitsForProofOf(status, seen) != 0) waiting.insert(status.vm);
  for (const Wish& wish : wishes_.Weigh(outside_.now(), nodes, wished, seen)) {
    Machine& machine = machines_.at(wish.vm);
    const bool waits = waiting.contains(wish.vm);
    const bool changed = machine.wish.want != wish.want || machine.wish.to != wish.to;
    const bool news = changed || machine.waits != waits;
    machine.waits = waits;
    if (changed || machine.wish.why != wish.why)
      Decide(machine, fmt::format("this node would {} it: {}{}",
                                  wish.want == cluster::Want::kRun        ? "run"
                                  : wish.want == cluster::Want::kGiveAway ? "give away"
                                                                          : "leave",
                                  WhyWord(wish.why), wish.to == 0 ? "" : " on " + NameOf(wish.to)));
    machine.wish = wish;
    if (machine.ended && !IsOff(machine.spec)) continue;
    // If its node comes back, it is to be that node's: a wish of before must not be quicker.
    if (news) manager_.Want(wish.vm, waits ? cluster::Want::kLeave : wish.want, wish.to);
  }
}

// ---- how machines stand -------------------------------------------------------------------------

// What keeps it from what it shall be until something is changed: a stable word, and that for people.
std::optional<std::pair<std::string, std::string>> ClusterMember::ObstacleOf(
    const ClusterManager::MachineStatus& status, const Machine& machine,
    const ClusterStanding& standing, const ClusterSeen& seen) const {
  using Obstacle = std::pair<std::string, std::string>;
  const bool gone = !standing.owner_open || status.record.state == VmState::kFree;
  if (IsPaused(machine.spec) && !standing.here && gone)
    return Obstacle(kPausedLost,
                    "what was paused has gone with its process or its node: once it is resumed, "
                    "its guest begins anew");
  if (const NodeId node = WaitsForProofOf(status, seen); node != 0)
    return Obstacle("NOT_PROVED_OFF", WhyNotProved(node));
  if (!machine.failure.empty()) return Obstacle("START_FAILED", machine.failure);
  if (machine.wish.why == Why::kNoNetwork) return Obstacle(kNoNetwork, DescribeObstacles(machine));
  if (IsStuck(machine.wish.why))
    return Obstacle(Capitals(WhyWord(machine.wish.why)),
                    "no node may have it now: gemel cluster explain says why");
  return std::nullopt;
}

ClusterStanding ClusterMember::StandingOf(const ClusterManager::MachineStatus& status,
                                          const Machine& machine, const ClusterSeen& seen) const {
  using State = cluster::Process::State;
  ClusterStanding standing;
  standing.record = status.record.state;
  standing.epoch = status.record.epoch;
  standing.owner = NameOf(status.record.owner);
  const auto session = seen.sessions.find(status.record.owner);
  standing.owner_open = session != seen.sessions.end() &&
                        !cluster::ProvesOver(session->second, status.record.session);
  standing.here = status.process.state != State::kNone;
  standing.begun = machine.begun || status.record.owner != node_;
  standing.latched =
      status.process.state == State::kLatched || status.process.state == State::kConflicted;
  const auto say = [&](std::string reason, std::string message) {
    standing.reason = std::move(reason);
    standing.message = std::move(message);
  };
  const bool runs = status.record.state == VmState::kRunning && standing.owner_open;
  if (!status.unreadable.empty()) {
    say("RECORD_UNREADABLE", status.unreadable);
  } else if (status.refused) {
    say("STORAGE_REFUSED", "its disk has a later owner's key: a person must look");
  } else if (standing.latched) {
    say("NO_MAJORITY", "paused: this node is no member of a majority");
  } else if (runs || IsOff(machine.spec)) {
    say(machine.spec.reason, machine.spec.message);
  } else if (auto obstacle = ObstacleOf(status, machine, standing, seen)) {
    say(std::move(obstacle->first), std::move(obstacle->second));
    standing.stuck = standing.reason != kNoNetwork || !NetworksChange(machine);
  } else if (!standing.owner.empty() && !standing.owner_open) {
    say("NODE_LOST", fmt::format("node {} is lost", standing.owner));
  }
  return standing;
}

void ClusterMember::TellStandings(const std::vector<ClusterManager::MachineStatus>& all) {
  const ClusterSeen seen = SeenSessions();
  for (const ClusterManager::MachineStatus& status : all) {
    const auto found = machines_.find(status.vm);
    if (found == machines_.end() || found->second.gone) continue;
    Machine& machine = found->second;
    ClusterStanding standing = StandingOf(status, machine, seen);
    if (machine.told == standing) continue;
    if (!machine.told || machine.told->record != standing.record ||
        machine.told->owner != standing.owner || machine.told->epoch != standing.epoch ||
        machine.told->reason != standing.reason)
      Decide(machine, Describe(standing));
    TellOfMachine(machine, standing, seen);
    machine.told = standing;
    outside_.records->OnStanding(machine.uid, standing);
  }
}

}  // namespace gemel::daemon
