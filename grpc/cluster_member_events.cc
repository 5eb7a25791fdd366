// What a member of the cluster tells all others of what it decided.
#include <algorithm>
#include <utility>

#include "grpc/cluster_member.h"
#include "grpc/cluster_policy.h"

namespace gemel::daemon {
namespace {

using cluster::SessionState;
using cluster::VmState;

}  // namespace

void ClusterMember::TellOf(const Machine& machine, v1::EventType type, const cluster::Epoch& epoch,
                           std::string_view reason, std::string message) {
  const std::string text =
      epoch.counter == 0 ? "" : fmt::format("{}.{}", epoch.incarnation, epoch.counter);
  events_.Tell(type, machine.spec.machine.name(), machine.uid, text, reason, std::move(message),
               outside_.clock->RealtimeNow());
}

// Of what all see, one tells: the first of those that are members.
bool ClusterMember::SpeaksForAll(const ClusterSeen& seen) const {
  for (const auto& [node, session] : seen.sessions)
    if (session.state == SessionState::kOpen && session.id.number != 0) return node == node_;
  return false;
}

// Each thing is told by the node that did it, when its record shows that it is so.
void ClusterMember::TellOfMachine(Machine& machine, const ClusterStanding& next,
                                  const ClusterSeen& seen) {
  const ClusterStanding before = machine.told.value_or(ClusterStanding{});
  const bool mine = next.owner == self_.name;
  const std::string from = machine.last_owner;
  const bool running = next.record == VmState::kRunning && next.owner_open;
  const bool ran_here = mine && running && next.begun;
  if (ran_here || (running && !mine)) machine.last_owner = next.owner;
  const bool anew = ran_here && !(next.epoch == machine.ran);
  if (ran_here) machine.ran = next.epoch;
  const bool was_run = before.record == VmState::kRunning && !before.owner.empty();
  const bool other_took = next.record == VmState::kFencing && next.owner != before.owner;
  if ((next.record == VmState::kRunning && !next.owner_open) || (was_run && other_took))
    machine.lost = true;
  if (next.record == VmState::kFree || next.record == VmState::kMoving) machine.lost = false;
  const bool lost = machine.lost;
  if (ran_here || (running && !mine)) machine.lost = false;
  if (!machine.told) return;  // nothing is known of before
  if (next.reason != before.reason && next.reason == "STORAGE_REFUSED")
    TellOf(machine, v1::EVENT_TYPE_REFUSED, next.epoch, next.reason, next.message);
  if (next.stuck && next.reason != before.reason && !next.reason.empty() && SpeaksForAll(seen))
    TellOf(machine, v1::EVENT_TYPE_WAITING, next.epoch, next.reason, next.message);
  // A claim that is quick may have come and gone since the last look.
  const bool past = next.record == VmState::kStarting || next.record == VmState::kRunning;
  const bool claimed = before.record == VmState::kFencing || !(before.epoch == next.epoch);
  if (mine && lost && past && claimed) {
    auto [reason, message] = WhyFenced(machine, from);
    TellOf(machine, v1::EVENT_TYPE_FENCED, next.epoch, reason, std::move(message));
  }
  if (mine && before.record != VmState::kMoving && next.record == VmState::kMoving)
    TellOf(machine, v1::EVENT_TYPE_GIVEN_AWAY, next.epoch, WhyWord(machine.wish.why),
           machine.wish.to == 0 ? "" : "to node " + NameOf(machine.wish.to));
  if (!anew) return;
  if (!from.empty() && from != self_.name)
    TellOf(machine, v1::EVENT_TYPE_TAKEN_OVER, next.epoch, lost ? "NODE_LOST" : "GIVEN_AWAY",
           fmt::format("from node {}{}", from, lost ? ", which was lost" : ""));
  else if (before.latched)
    TellOf(machine, v1::EVENT_TYPE_RESUMED, next.epoch, "MAJORITY_BACK",
           IsPaused(machine.spec) ? "it stays paused" : "it goes on where it stood");
}

void ClusterMember::TellOfNodes() {
  const ClusterSeen seen = SeenSessions();
  for (const auto& [node, entry] : specs_.nodes()) {
    if (!entry.unreadable.empty()) continue;
    const auto session = seen.sessions.find(node);
    const bool live = node == node_ ? manager_.live()
                                    : session != seen.sessions.end() &&
                                          session->second.state == SessionState::kOpen &&
                                          session->second.id.number != 0;
    const auto told = live_.find(node);
    if (told != live_.end() && told->second == live) continue;
    const bool first = told == live_.end();
    live_[node] = live;
    const std::string name = "nodes/" + entry.value.name;
    const std::int64_t now = outside_.clock->RealtimeNow();
    if (node == node_ && live)
      events_.Tell(v1::EVENT_TYPE_NODE_JOINED, name, "", "",
                   first ? "DAEMON_STARTED" : "SESSION_OPENED", "it may have machines", now);
    if (node != node_ && !live && !first && !entry.value.drained && SpeaksForAll(seen))
      events_.Tell(v1::EVENT_TYPE_NODE_LOST, name, "", "", "SESSION_OVER",
                   "its machines are taken over", now);
  }
}

}  // namespace gemel::daemon
