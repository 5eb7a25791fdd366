// Looks at what this node rests on: its store, /dev/kvm, the room in its pools. What it finds is
// published (Published::conditions), and each change is an event (NODE_CHANGED), as soon as one can be
// stored.
//
// Of the manager's loop. Folders are looked at on the worker's thread, one look at a time: a pool
// on a dead mount holds up nobody but that.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/event_loop.h"
#include "grpc/disk_pools.h"
#include "grpc/timers.h"
#include "grpc/vm_manager.h"
#include "proto/gemel/v1/nodes.pb.h"

namespace gemel::daemon {

// A pool with less than this part of its room free is DEGRADED.
inline constexpr std::uint64_t kPoolAlarmPercent = 5;

// What `space` says of a pool: condition "pool/<name>", without a time.
v1::HealthCondition PoolCondition(const std::string& name, const Result<PoolSpace>& space);

class NodeHealth {
 public:
  // All outlive it.
  struct Parts {
    EventLoop* loop = nullptr;
    EventLoop* worker = nullptr;
    Timers* timers = nullptr;
    const Clock* clock = nullptr;
    const DiskPools* pools = nullptr;
    Published* published = nullptr;
    VmManager* manager = nullptr;
  };
  explicit NodeHealth(Parts parts) : parts_(parts) {}

  // Looks now, and every five seconds from then on. On the loop, once.
  void Begin() { Settle(Find(*parts_.pools)); }

 private:
  static std::vector<v1::HealthCondition> Find(const DiskPools& pools);
  void Look();
  void Settle(std::vector<v1::HealthCondition> found);

  const Parts parts_;
  std::map<std::string, v1::NodeHealth> told_;  // by condition; none: OK
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gemel::daemon
