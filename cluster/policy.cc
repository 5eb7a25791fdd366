#include "cluster/policy.h"

#include <algorithm>
#include <map>
#include <utility>

namespace gemel::cluster {
namespace {

using Why = Placement::Why;

// Memory that is still free, and who is where, as machines are placed one after the other.
class Room {
 public:
  Room(std::span<const NodeStatus> nodes, std::span<const VmStatus> vms) : nodes_(nodes) {
    for (const NodeStatus& node : nodes)
      if (node.usable) free_[node.node] = node.memory;
    for (const VmStatus& vm : vms)
      if (vm.owner != 0) Put(vm, vm.owner);
  }
  bool Fits(const VmStatus& vm, NodeId node) const {
    const auto found = free_.find(node);
    return found != free_.end() && found->second >= vm.memory;
  }
  bool Together(const VmStatus& vm, NodeId node) const {
    if (vm.policy.apart == 0) return false;
    const auto found = groups_.find({node, vm.policy.apart});
    return found != groups_.end() && found->second > 0;
  }
  void Put(const VmStatus& vm, NodeId node) {
    const auto found = free_.find(node);
    if (found != free_.end()) found->second -= std::min(found->second, vm.memory);
    if (vm.policy.apart != 0) ++groups_[{node, vm.policy.apart}];
  }
  // Who should have it: the preferred node, else the one with the most room, else the lowest number.
  Placement Choose(const VmStatus& vm) const {
    Placement best{vm.vm, 0, Why::kNoCapacity};
    for (const NodeStatus& node : nodes_) {
      if (!Fits(vm, node.node)) continue;
      if (Together(vm, node.node)) {
        if (best.node == 0) best.why = Why::kApart;
        continue;
      }
      if (best.node == 0 || Better(vm, node.node, best.node))
        best = {vm.vm, node.node, Why::kStart};
    }
    return best;
  }

 private:
  bool Better(const VmStatus& vm, NodeId left, NodeId right) const {
    if (vm.policy.preferred == left || vm.policy.preferred == right)
      return vm.policy.preferred == left;
    return std::pair(free_.at(left), right) > std::pair(free_.at(right), left);
  }
  std::span<const NodeStatus> nodes_;
  std::map<NodeId, std::uint64_t> free_;
  std::map<std::pair<NodeId, std::uint32_t>, int> groups_;
};

bool TooManyRestarts(Time now, const VmStatus& vm) {
  const auto recent = std::count_if(vm.restarts.begin(), vm.restarts.end(),
                                    [&](Time at) { return now - at < vm.policy.window; });
  return recent >= static_cast<std::ptrdiff_t>(vm.policy.most_restarts);
}

Placement PlaceOwned(const VmStatus& vm, const Room& room) {
  const NodeId home = vm.policy.preferred;
  const bool back = vm.running && vm.policy.fail_back && home != 0 && home != vm.owner &&
                    room.Fits(vm, home) && !room.Together(vm, home);
  return {vm.vm, back ? home : vm.owner, back ? Why::kFailBack : Why::kStays};
}

}  // namespace

std::vector<Placement> Place(Time now, Time last_start, std::span<const NodeStatus> nodes,
                             std::span<const VmStatus> vms) {
  std::vector<const VmStatus*> order;
  for (const VmStatus& vm : vms) order.push_back(&vm);
  std::sort(order.begin(), order.end(), [](const VmStatus* left, const VmStatus* right) {
    return std::pair(left->policy.priority, left->vm) <
           std::pair(right->policy.priority, right->vm);
  });
  Room room(nodes, vms);
  std::vector<Placement> out;
  std::uint32_t open_group = 0;
  bool open = false;  // a machine of open_group, or one before it, is still on its way up
  for (const VmStatus* vm : order) {
    const auto add = [&](Why why) { out.push_back({vm->vm, 0, why}); };
    if (vm->owner != 0) {
      out.push_back(PlaceOwned(*vm, room));
      if (out.back().why == Why::kFailBack) room.Put(*vm, out.back().node);
      if (!vm->running && !std::exchange(open, true)) open_group = vm->policy.priority;
    } else if (vm->failed && vm->policy.stay_down) {
      add(Why::kStaysDown);
    } else if (vm->failed && TooManyRestarts(now, *vm)) {
      add(Why::kTooManyRestarts);
    } else if (open && vm->policy.priority > open_group) {
      add(Why::kWaitsForGroup);
    } else if (now - last_start < vm->policy.start_delay) {
      add(Why::kWaitsForDelay);
      if (!std::exchange(open, true)) open_group = vm->policy.priority;
    } else {
      out.push_back(room.Choose(*vm));
      if (out.back().why != Why::kStart) continue;  // it cannot: later groups do not wait for it
      room.Put(*vm, out.back().node);
      if (vm->policy.start_delay.us > 0) last_start = now;
      if (!std::exchange(open, true)) open_group = vm->policy.priority;
    }
  }
  return out;
}

bool SurvivesLossOfAnyNode(std::span<const NodeStatus> nodes, std::span<const VmStatus> vms) {
  for (const NodeStatus& lost : nodes) {
    std::vector<NodeStatus> left;
    for (const NodeStatus& node : nodes)
      if (node.node != lost.node) left.push_back(node);
    std::vector<VmStatus> all(vms.begin(), vms.end());
    std::erase_if(all, [](const VmStatus& vm) { return vm.policy.stay_down; });
    // The largest first: what does not fit then does not fit at all, or only by luck.
    std::sort(all.begin(), all.end(), [](const VmStatus& a, const VmStatus& b) {
      return std::pair(b.memory, a.vm) < std::pair(a.memory, b.vm);
    });
    for (VmStatus& vm : all)
      if (vm.owner == lost.node) vm.owner = 0;
    Room room(left, all);
    for (const VmStatus& vm : all) {
      if (vm.owner != 0) continue;
      const Placement placed = room.Choose(vm);
      if (placed.why != Why::kStart) return false;
      room.Put(vm, placed.node);
    }
  }
  return true;
}

}  // namespace gemel::cluster
