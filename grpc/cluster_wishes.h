// What a node should want of each machine, from what operators asked for and what etcd shows:
// cluster/policy.h with a memory of what it has seen. It only ever asks; whether a machine may start
// is for cluster::VmAgent. Every node weighs for itself, and all that see the same agree. One thread.
//
// A node whose session lives but that takes nothing of what would be its (its gemeld does not run) is passed
// over for a while, so that others have it.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "cluster/policy.h"
#include "cluster/records.h"
#include "cluster/vm_agent.h"

namespace gemel::daemon {

// A machine as its owner asked for it.
struct WishedVm {
  std::uint32_t vm = 0;
  cluster::VmPolicy policy;
  std::uint64_t memory = 0;
  bool off = false;                       // it shall not run anywhere
  cluster::Revision asked{};              // of etcd, when that was said last
  std::vector<cluster::NodeId> barred{};  // nodes that cannot have it
  bool leaves = false;                    // this node, where it could not be started for that
  bool paused = false;                    // it shall stand still where it is
  bool here = false;                      // it has a process on this node, whose guest has begun
};

struct WishedNode {
  cluster::NodeId node = 0;
  std::uint64_t memory = 0;  // what machines may have together
  bool drained = false;
};

// What etcd shows: session/NODE of all nodes, vm/VM of all machines that have one; and their last changes.
struct ClusterSeen {
  std::map<cluster::NodeId, cluster::SessionRecord> sessions;
  std::map<cluster::NodeId, cluster::Revision> session_changes;  // of other nodes
  std::map<std::uint32_t, cluster::Ownership> records;
  std::map<std::uint32_t, cluster::Revision> record_changes;
};

struct Wish {
  std::uint32_t vm = 0;
  cluster::Want want = cluster::Want::kLeave;
  cluster::NodeId to = 0;  // kGiveAway
  cluster::Placement::Why why = cluster::Placement::Why::kStays;
};

class ClusterWishes {
 public:
  // How long a node has to take what would be its, and how long it is passed over then.
  static constexpr cluster::Time kPatience{5'000'000};
  static constexpr cluster::Time kPassedOver{60'000'000};

  explicit ClusterWishes(cluster::NodeId me) : me_(me) {}

  // One for each of `vms`. To be asked after each view and every second: delays and windows pass.
  std::vector<Wish> Weigh(cluster::Time now, std::span<const WishedNode> nodes,
                          std::span<const WishedVm> vms, const ClusterSeen& seen);

 private:
  struct History {
    cluster::NodeId owner = 0;  // as last seen
    bool running = false;
    bool failed = false;
    bool excused =
        false;  // somebody has stopped it since it was lost: it starts as by a first wish
    std::vector<cluster::Time> restarts;
  };

  struct Sorted {
    std::vector<Wish> wishes;                                  // where nothing is to be placed
    std::vector<cluster::VmStatus> machines;                   // that take room, or shall
    std::unordered_map<std::uint32_t, std::size_t> undecided;  // of these, by number: where
    std::set<std::uint32_t> leaving;                           // of these: this node
  };
  Sorted Sort(cluster::Time now, std::span<const WishedVm> vms, const ClusterSeen& seen,
              bool drained);
  cluster::VmStatus StatusOf(cluster::Time now, const WishedVm& vm, const ClusterSeen& seen);
  std::vector<cluster::NodeStatus> StatusOf(cluster::Time now, std::span<const WishedNode> nodes,
                                            const ClusterSeen& seen) const;
  bool IsPassedOver(cluster::Time now, cluster::NodeId node) const;
  void NoteExpected(cluster::Time now, const std::set<cluster::NodeId>& expected);
  Wish WishFor(const cluster::VmStatus& vm, const cluster::Placement& placed, bool leaves) const;

  cluster::NodeId me_;
  std::map<std::uint32_t, History> histories_;
  cluster::Time last_start_ = cluster::kNever;
  // Of other nodes that would have a machine which nobody has: since when they took none.
  std::map<cluster::NodeId, cluster::Time> owing_;
};

}  // namespace gemel::daemon
