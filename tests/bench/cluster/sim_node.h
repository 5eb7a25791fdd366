// One of many nodes of a cluster, as ./bench cluster has them: its gemel-keeper is a real one, and so are
// its connections to etcd, its view, its ClusterManager and its ClusterWishes. In the place of VM processes
// and of disks stands something that answers at once. One thread, the loop's, for all of them.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/timer.h"
#include "etcd/grpc_kv.h"
#include "etcd/kv_store.h"
#include "grpc/cluster_manager.h"
#include "grpc/cluster_wishes.h"
#include "grpc/keeper_link.h"
#include "tests/explorer/storage_model.h"

namespace gemel::daemon {

// What all of them share; it outlives them.
struct SimWorld {
  EventLoop* loop = nullptr;
  const Clock* clock = nullptr;
  std::vector<WishedNode> nodes;
  std::vector<WishedVm> vms;
  std::map<ClusterVm, explorer::Storage> disks;
  // What node has heard of etcd, before it makes anything of it.
  std::function<void(cluster::NodeId node, const std::vector<etcd::KeyEvent>& events)> on_heard;
  // Has all nodes weigh that have seen something: their pace is that of one gemeld (grpc/paced_task.h).
  std::function<void()> weigh_soon;
};

class SimNode : ClusterMachines, ClusterDisks {
 public:
  struct Counts {
    std::uint64_t commits = 0;
    std::uint64_t refused = 0;
    std::uint64_t unknown = 0;
    std::uint64_t weighs = 0;
    std::int64_t weigh_us = 0;  // of all of them
    std::int64_t longest_weigh_us = 0;
  };

  SimNode(cluster::NodeId id, const std::vector<std::string>& endpoints,
          const std::string& keeper_socket, SimWorld* world);

  void Add(ClusterVm vm) {
    manager_.Add(vm);
    seen_ = true;
  }
  bool live() const { return manager_.live(); }
  std::size_t live_peers() const;
  std::size_t running() const;  // machines of the cluster, by their records
  const etcd::View* view() const { return store_.view; }
  bool WeighIfSeen();
  Counts counts;

 private:
  // The store, with a look after each view and an account of what it is asked.
  struct CountingStore : etcd::ClusterStore {
    CountingStore(SimNode* node, etcd::KvStore* below) : node_(node), below_(below) {}
    void Commit(const cluster::Txn& txn, Done done) override;
    void Watch(OnView on_view) override;
    const etcd::View* view = nullptr;

   private:
    SimNode* node_;
    etcd::KvStore* below_;
  };

  void Tick();
  void Weigh();
  void Run(ClusterVm vm, const Grant& grant);
  void Show(ClusterVm vm, const cluster::Process& process);

  // ClusterMachines
  void Start(ClusterVm vm, Grant grant) override { Run(vm, grant); }
  void Resume(ClusterVm vm, Grant grant) override { Run(vm, grant); }
  void Stop(ClusterVm vm) override { Show(vm, {}); }
  void Kill(ClusterVm vm) override { Show(vm, {}); }
  // ClusterDisks
  void Execute(ClusterVm vm, const cluster::StorageCommand& command, Done done) override;

  const cluster::NodeId id_;
  SimWorld* const world_;
  std::unique_ptr<etcd::Kv> kv_;
  etcd::KvStore below_;
  CountingStore store_;
  KeeperSocket keeper_;
  ClusterManager manager_;
  ClusterWishes wishes_;
  std::map<ClusterVm, Wish> wished_;
  std::map<ClusterVm, cluster::Process> processes_;
  bool seen_ = false;  // something, since it weighed
  Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gemel::daemon
