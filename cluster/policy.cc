#include "cluster/policy.h"

#include <algorithm>
#include <set>
#include <utility>

namespace gemel::cluster {
namespace {

using Why = Placement::Why;

// Memory that is still free, and who is where, as machines are placed one after the other.
class Room {
  struct Node {
    NodeId id = 0;
    std::uint64_t free = 0;    // what nobody has
    std::uint64_t ranked = 0;  // the same, without those that arrive and whose turn has not come
  };
  template <class Nodes>
  static auto* FindIn(Nodes& nodes, NodeId id) {
    const auto found = std::ranges::lower_bound(nodes, id, {}, &Node::id);
    return found != nodes.end() && found->id == id ? &*found : nullptr;
  }

 public:
  Room(std::span<const NodeStatus> nodes, std::span<const VmStatus> vms) {
    for (const NodeStatus& node : nodes)
      if (node.usable) nodes_.push_back({node.node, node.memory, node.memory});
    std::ranges::sort(nodes_, {}, &Node::id);
    for (const VmStatus& vm : vms)
      if (vm.owner != 0) Take(vm, vm.owner, !vm.arriving);
  }
  bool Fits(const VmStatus& vm, NodeId node) const {
    const Node* const found = FindIn(nodes_, node);
    return found != nullptr && found->free >= vm.memory && !Barred(vm, node);
  }
  static bool Barred(const VmStatus& vm, NodeId node) {
    return std::ranges::find(vm.barred, node) != vm.barred.end();
  }
  bool Together(const VmStatus& vm, NodeId node) const {
    return vm.policy.apart != 0 && groups_.contains({node, vm.policy.apart});
  }
  void Put(const VmStatus& vm, NodeId node) { Take(vm, node, /*ranked=*/true); }
  // The turn of one that its owner is just taking.
  void Arrive(const VmStatus& vm) {
    if (Node* const found = FindIn(nodes_, vm.owner); found != nullptr)
      found->ranked -= std::min(found->ranked, vm.memory);
  }
  void Lose(NodeId node) {
    std::erase_if(nodes_, [node](const Node& one) { return one.id == node; });
  }
  // Who should have it: the preferred node, else the one with the most room, else the lowest number.
  Placement Choose(const VmStatus& vm) const {
    const Node* best = nullptr;
    bool apart = false;
    for (const Node& node : nodes_) {
      if (node.free < vm.memory || Barred(vm, node.id)) continue;
      if (Together(vm, node.id)) {
        apart = true;
      } else if (best == nullptr || Better(vm, node, *best)) {
        best = &node;
      }
    }
    if (best != nullptr) return {vm.vm, best->id, Why::kStart};
    if (AllBarred(vm)) return {vm.vm, 0, Why::kNoNetwork};
    return {vm.vm, 0, apart ? Why::kApart : Why::kNoCapacity};
  }

 private:
  bool AllBarred(const VmStatus& vm) const {
    return !nodes_.empty() &&
           std::ranges::all_of(nodes_, [&](const Node& node) { return Barred(vm, node.id); });
  }
  // `left` has the higher number.
  static bool Better(const VmStatus& vm, const Node& left, const Node& right) {
    if (vm.policy.preferred == left.id || vm.policy.preferred == right.id)
      return vm.policy.preferred == left.id;
    return left.ranked > right.ranked;
  }
  void Take(const VmStatus& vm, NodeId node, bool ranked) {
    if (Node* const found = FindIn(nodes_, node); found != nullptr) {
      found->free -= std::min(found->free, vm.memory);
      if (ranked) found->ranked -= std::min(found->ranked, vm.memory);
    }
    if (vm.policy.apart != 0) groups_.insert({node, vm.policy.apart});
  }

  std::vector<Node> nodes_;  // those that are usable, by number
  std::set<std::pair<NodeId, std::uint32_t>> groups_;
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
      if (vm->arriving) room.Arrive(*vm);
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
  std::vector<VmStatus> all(vms.begin(), vms.end());
  std::erase_if(all, [](const VmStatus& vm) { return vm.policy.stay_down; });
  // The largest first: what does not fit then does not fit at all, or only by luck.
  std::ranges::sort(all, [](const VmStatus& a, const VmStatus& b) {
    return std::pair(b.memory, a.vm) < std::pair(a.memory, b.vm);
  });
  const Room whole(nodes, all);
  for (const NodeStatus& lost : nodes) {
    Room room = whole;
    room.Lose(lost.node);
    for (const VmStatus& vm : all) {
      if (vm.owner != 0 && vm.owner != lost.node) continue;
      const Placement placed = room.Choose(vm);
      if (placed.why != Why::kStart) return false;
      room.Put(vm, placed.node);
    }
  }
  return true;
}

}  // namespace gemel::cluster
