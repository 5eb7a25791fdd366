// What a node should want of each machine, from what operators asked for and what etcd shows:
// cluster/policy.h with a memory of what it has seen. It only ever asks; whether a machine may start
// is for cluster::VmAgent. Every node weighs for itself, and all that see the same agree. One thread.
#pragma once
#include <cstdint>
#include <map>
#include <span>
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
  bool off = false;  // it shall not run anywhere
};

struct WishedNode {
  cluster::NodeId node = 0;
  std::uint64_t memory = 0;  // what machines may have together
  bool drained = false;
};

// What etcd shows: session/NODE of all nodes, vm/VM of all machines that have one.
struct ClusterSeen {
  std::map<cluster::NodeId, cluster::SessionRecord> sessions;
  std::map<std::uint32_t, cluster::Ownership> records;
};

struct Wish {
  std::uint32_t vm = 0;
  cluster::Want want = cluster::Want::kLeave;
  cluster::NodeId to = 0;  // kGiveAway
  cluster::Placement::Why why = cluster::Placement::Why::kStays;
};

class ClusterWishes {
 public:
  explicit ClusterWishes(cluster::NodeId me) : me_(me) {}

  // One for each of `vms`. To be asked after each view and every second: delays and windows pass.
  std::vector<Wish> Weigh(cluster::Time now, std::span<const WishedNode> nodes,
                          std::span<const WishedVm> vms, const ClusterSeen& seen);

 private:
  struct History {
    cluster::NodeId owner = 0;  // as last seen
    bool running = false;
    bool failed = false;
    std::vector<cluster::Time> restarts;
  };

  cluster::VmStatus StatusOf(cluster::Time now, const WishedVm& vm, const ClusterSeen& seen);
  Wish WishFor(const cluster::VmStatus& vm, const cluster::Placement& placed, bool drained) const;

  cluster::NodeId me_;
  std::map<std::uint32_t, History> histories_;
  cluster::Time last_start_ = cluster::kNever;
};

}  // namespace gemel::daemon
