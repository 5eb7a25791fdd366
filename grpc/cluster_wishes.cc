#include "grpc/cluster_wishes.h"

#include <algorithm>
#include <set>

namespace gemel::daemon {
namespace {

using cluster::NodeId;
using cluster::Ownership;
using cluster::Placement;
using cluster::VmState;
using cluster::VmStatus;
using cluster::Want;
using Why = Placement::Why;

bool IsOpen(const ClusterSeen& seen, NodeId node) {
  const auto found = seen.sessions.find(node);
  return found != seen.sessions.end() && found->second.state == cluster::SessionState::kOpen &&
         found->second.id.number != 0;
}

Ownership RecordOf(const ClusterSeen& seen, std::uint32_t vm) {
  const auto found = seen.records.find(vm);
  return found == seen.records.end() ? Ownership{} : found->second;
}

// Whoever a machine was given away to, as long as that node lives; nobody else can take it.
NodeId Reserved(const ClusterSeen& seen, const Ownership& record) {
  const bool for_one = record.state == VmState::kFree && record.reserved_for != 0;
  return for_one && IsOpen(seen, record.reserved_for) ? record.reserved_for : 0;
}

}  // namespace

std::vector<Wish> ClusterWishes::Weigh(cluster::Time now, std::span<const WishedNode> nodes,
                                       std::span<const WishedVm> vms, const ClusterSeen& seen) {
  std::vector<cluster::NodeStatus> status;
  bool drained = false;
  for (const WishedNode& node : nodes) {
    status.push_back({node.node, IsOpen(seen, node.node) && !node.drained, node.memory});
    drained = drained || (node.node == me_ && node.drained);
  }
  std::vector<Wish> wishes;
  std::vector<VmStatus> machines;
  for (const WishedVm& vm : vms) {
    VmStatus machine = StatusOf(now, vm, seen);
    const Ownership record = RecordOf(seen, vm.vm);
    const NodeId reserved = Reserved(seen, record);
    if (vm.off) {
      const bool mine = record.owner == me_ && record.state != VmState::kFree;
      wishes.push_back({vm.vm, mine ? Want::kGiveAway : Want::kLeave, 0, Why::kStays});
    } else if (reserved != 0) {
      wishes.push_back({vm.vm, reserved == me_ ? Want::kRun : Want::kLeave, 0, Why::kStart});
      machine.owner = reserved;  // its room is taken there
      machines.push_back(machine);
    } else {
      // A drained node's machines are placed anew, as if they were nobody's.
      const bool leaves = machine.owner == me_ && drained;
      if (leaves) machine.owner = 0;
      machines.push_back(machine);
    }
  }
  const std::vector<Placement> placed = cluster::Place(now, last_start_, status, machines);
  std::set<std::uint32_t> wished;
  for (const Wish& wish : wishes) wished.insert(wish.vm);
  std::map<std::uint32_t, const VmStatus*> by_number;
  for (const VmStatus& machine : machines) by_number[machine.vm] = &machine;
  for (const Placement& placement : placed) {
    if (wished.contains(placement.vm)) continue;
    const bool mine = RecordOf(seen, placement.vm).owner == me_;
    wishes.push_back(WishFor(*by_number.at(placement.vm), placement, drained && mine));
  }
  return wishes;
}

VmStatus ClusterWishes::StatusOf(cluster::Time now, const WishedVm& vm, const ClusterSeen& seen) {
  const Ownership record = RecordOf(seen, vm.vm);
  History& history = histories_[vm.vm];
  const bool owned = record.state != VmState::kFree;
  VmStatus status;
  status.vm = vm.vm;
  status.policy = vm.policy;
  status.memory = vm.memory;
  // A node that was away and is back resumes what it had paused, if nobody took it meanwhile.
  status.owner = owned && IsOpen(seen, record.owner) ? record.owner : 0;
  status.running = record.state == VmState::kRunning || record.state == VmState::kMoving;
  if (!owned) history.failed = false;
  if (owned && status.owner == 0 && history.owner != 0) history.failed = true;
  std::erase_if(history.restarts, [&](cluster::Time at) { return now - at >= vm.policy.window; });
  if (status.running && status.owner != 0) {
    if (!history.running) last_start_ = now;
    if (history.failed) history.restarts.push_back(now);
    history.failed = false;
  }
  history.owner = status.owner;
  history.running = status.running && status.owner != 0;
  // Of a machine that was lost before this node looked, no more is known than that.
  status.failed = history.failed || (owned && status.owner == 0);
  status.restarts = history.restarts;
  return status;
}

Wish ClusterWishes::WishFor(const VmStatus& vm, const Placement& placed, bool drained) const {
  Wish wish{vm.vm, Want::kLeave, 0, placed.why};
  if (drained) {
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
