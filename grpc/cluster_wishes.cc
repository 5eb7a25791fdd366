#include "grpc/cluster_wishes.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

namespace gemel::daemon {
namespace {

using cluster::NodeId;
using cluster::Ownership;
using cluster::Placement;
using cluster::VmState;
using cluster::VmStatus;
using cluster::Want;
using Why = Placement::Why;

constexpr cluster::Revision kNobodyWaits{std::numeric_limits<std::int64_t>::max()};

bool IsOpen(const ClusterSeen& seen, NodeId node) {
  const auto found = seen.sessions.find(node);
  return found != seen.sessions.end() && found->second.state == cluster::SessionState::kOpen &&
         found->second.id.number != 0;
}

Ownership RecordOf(const ClusterSeen& seen, std::uint32_t vm) {
  const auto found = seen.records.find(vm);
  return found == seen.records.end() ? Ownership{} : found->second;
}

// Whoever a machine is given away to, as long as both nodes live; nobody else can take it.
NodeId Reserved(const ClusterSeen& seen, const Ownership& record) {
  const bool away = record.state == VmState::kFree ||
                    (record.state == VmState::kMoving && IsOpen(seen, record.owner));
  return away && IsOpen(seen, record.reserved_for) ? record.reserved_for : 0;
}

cluster::Revision ChangeOf(const std::map<std::uint32_t, cluster::Revision>& changes,
                           std::uint32_t id) {
  const auto found = changes.find(id);
  return found == changes.end() ? cluster::Revision{} : found->second;
}

// Since when a machine without an owner has been without: it was asked for, given up, or its owner fenced.
cluster::Revision NobodysSince(const WishedVm& vm, const Ownership& record,
                               const ClusterSeen& seen) {
  const cluster::Revision changed = ChangeOf(seen.record_changes, vm.vm);
  if (record.state == VmState::kFree) return std::max(changed, vm.asked);
  return std::max(changed, ChangeOf(seen.session_changes, record.owner));
}

// Of a machine that goes to the node that it is reserved for.
Wish Goes(const WishedVm& vm, const Ownership& record, NodeId me, bool drained) {
  const bool back = !drained && vm.policy.fail_back && vm.policy.preferred == record.reserved_for;
  const Why why = back ? Why::kFailBack : Why::kStart;
  if (record.state == VmState::kMoving && record.owner == me)
    return {vm.vm, Want::kGiveAway, record.reserved_for, why};
  return {vm.vm, record.reserved_for == me ? Want::kRun : Want::kLeave, 0, why};
}

// Of one that is paused: only its process can go on, so it is kept, whatever else would move it; and without
// one it is nobody's until it is resumed.
Wish Rests(const WishedVm& vm, const Ownership& record, NodeId me) {
  const bool mine = record.owner == me && record.state != VmState::kFree;
  if (!mine) return {vm.vm, Want::kLeave, 0, Why::kPaused};
  return {vm.vm, vm.here ? Want::kRun : Want::kGiveAway, 0, Why::kPaused};
}

}  // namespace

ClusterWishes::Sorted ClusterWishes::Sort(cluster::Time now, std::span<const WishedVm> vms,
                                          const ClusterSeen& seen, bool drained) {
  Sorted sorted;
  cluster::Revision since = kNobodyWaits;
  for (const WishedVm& vm : vms) {
    VmStatus machine = StatusOf(now, vm, seen);
    const Ownership record = RecordOf(seen, vm.vm);
    const NodeId reserved = Reserved(seen, record);
    if (vm.off) {
      const bool mine = record.owner == me_ && record.state != VmState::kFree;
      sorted.wishes.push_back({vm.vm, mine ? Want::kGiveAway : Want::kLeave, 0, Why::kStays});
      continue;
    }
    if (vm.paused) {
      sorted.wishes.push_back(Rests(vm, record, me_));
      if (machine.owner == 0) continue;
      machine.policy.fail_back = false;  // it takes room where it is, and holds up nobody
      machine.running = true;
    } else if (reserved != 0) {
      sorted.wishes.push_back(Goes(vm, record, me_, drained));
      machine.owner = reserved;  // its room is taken there
    } else {
      if (machine.owner == 0) since = std::min(since, NobodysSince(vm, record, seen));
      // What leaves this node is placed anew, as if it were nobody's.
      const bool leaves = record.owner == me_ && (drained || vm.leaves);
      if (leaves) sorted.leaving.insert(vm.vm);
      if (leaves) machine.owner = 0;
      sorted.undecided[vm.vm] = sorted.machines.size();
    }
    sorted.machines.push_back(std::move(machine));
  }
  // What was taken since is part of the same plan (cluster/policy.h).
  for (VmStatus& machine : sorted.machines)
    machine.arriving = machine.owner != 0 && ChangeOf(seen.record_changes, machine.vm) > since;
  return sorted;
}

std::vector<Wish> ClusterWishes::Weigh(cluster::Time now, std::span<const WishedNode> nodes,
                                       std::span<const WishedVm> vms, const ClusterSeen& seen) {
  const bool drained = std::ranges::any_of(
      nodes, [this](const WishedNode& node) { return node.node == me_ && node.drained; });
  Sorted sorted = Sort(now, vms, seen, drained);
  std::set<NodeId> expected;
  for (const Placement& placed :
       cluster::Place(now, last_start_, StatusOf(now, nodes, seen), sorted.machines)) {
    const auto found = sorted.undecided.find(placed.vm);
    if (found == sorted.undecided.end()) continue;
    const bool leaves = sorted.leaving.contains(placed.vm);
    if (placed.why == Why::kStart && placed.node != me_ && !leaves) expected.insert(placed.node);
    sorted.wishes.push_back(WishFor(sorted.machines[found->second], placed, leaves));
  }
  NoteExpected(now, expected);
  return std::move(sorted.wishes);
}

std::vector<cluster::NodeStatus> ClusterWishes::StatusOf(cluster::Time now,
                                                         std::span<const WishedNode> nodes,
                                                         const ClusterSeen& seen) const {
  std::vector<cluster::NodeStatus> status;
  status.reserve(nodes.size());
  for (const WishedNode& node : nodes) {
    const bool usable = IsOpen(seen, node.node) && !node.drained && !IsPassedOver(now, node.node);
    status.push_back({node.node, usable, node.memory});
  }
  return status;
}

bool ClusterWishes::IsPassedOver(cluster::Time now, NodeId node) const {
  const auto found = owing_.find(node);
  if (found == owing_.end() || node == me_) return false;
  const cluster::Time since = now - found->second;
  return since >= kPatience && since < kPatience + kPassedOver;
}

void ClusterWishes::NoteExpected(cluster::Time now, const std::set<NodeId>& expected) {
  std::erase_if(owing_, [&](const auto& one) {
    const bool ended = now - one.second >= kPatience + kPassedOver;
    return ended || (!expected.contains(one.first) && !IsPassedOver(now, one.first));
  });
  for (const NodeId node : expected) owing_.try_emplace(node, now);
}

VmStatus ClusterWishes::StatusOf(cluster::Time now, const WishedVm& vm, const ClusterSeen& seen) {
  const Ownership record = RecordOf(seen, vm.vm);
  History& history = histories_[vm.vm];
  const bool owned = record.state != VmState::kFree;
  VmStatus status;
  status.vm = vm.vm;
  status.policy = vm.policy;
  status.memory = vm.memory;
  status.barred = vm.barred;
  // A node that was away and is back resumes what it had paused, if nobody took it meanwhile.
  status.owner = owned && IsOpen(seen, record.owner) ? record.owner : 0;
  status.running = record.state == VmState::kRunning || record.state == VmState::kMoving;
  if (!owned) history.failed = false;
  if (owned && status.owner == 0 && history.owner != 0) history.failed = true;
  history.excused = status.owner == 0 && (history.excused || vm.off);
  if (history.excused) {
    history.failed = false;
    history.restarts.clear();
  }
  std::erase_if(history.restarts, [&](cluster::Time at) { return now - at >= vm.policy.window; });
  if (status.running && status.owner != 0) {
    if (!history.running) last_start_ = now;
    if (history.failed) history.restarts.push_back(now);
    history.failed = false;
  }
  if (history.owner != status.owner) owing_.erase(status.owner);  // it does take machines
  history.owner = status.owner;
  history.running = status.running && status.owner != 0;
  // Of a machine that was lost before this node looked, no more is known than that.
  status.failed = !history.excused && (history.failed || (owned && status.owner == 0));
  status.restarts = history.restarts;
  return status;
}

Wish ClusterWishes::WishFor(const VmStatus& vm, const Placement& placed, bool leaves) const {
  Wish wish{vm.vm, Want::kLeave, 0, placed.why};
  if (leaves) {
    if (placed.why == Why::kStart && placed.node != me_) {
      wish.want = Want::kGiveAway;
      wish.to = placed.node;
    }
  } else if (vm.owner == me_) {
    wish.want = placed.why == Why::kFailBack ? Want::kGiveAway : Want::kRun;
    wish.to = placed.why == Why::kFailBack ? placed.node : 0;
  } else if (placed.node == me_ && (placed.why == Why::kStart || placed.why == Why::kFailBack)) {
    wish.want = Want::kRun;
  }
  return wish;
}

}  // namespace gemel::daemon
