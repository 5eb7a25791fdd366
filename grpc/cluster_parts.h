// What a node of a cluster has beside its records: the client of etcd, the connection to gemel-keeper, the
// disks' claims, and the member that ties them together. Made and used on the manager loop's thread.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "cluster/config/cluster_config.h"
#include "etcd/config_follower.h"
#include "grpc/cluster_disks.h"
#include "grpc/cluster_member.h"
#include "grpc/fence_run.h"
#include "grpc/fencing.h"

namespace gemel::daemon {

class ClusterParts {
 public:
  struct Outside {
    EventLoop* loop = nullptr;
    const Clock* clock = nullptr;
    VmSupervisor* supervisor = nullptr;
    ClusterRecords* records = nullptr;
    std::function<std::uint64_t()> ordinary_memory = {};  // as ClusterMember's
    Directory<ClusterPeer>* peers = nullptr;
    std::map<std::string, FenceAgent> fence_agents = {};  // by the node that each switches off
  };

  // An error names the file or the key of `config`, which `path` is followed for from then on. What
  // `outside` names outlives it.
  static Result<std::unique_ptr<ClusterParts>> Create(const std::string& path,
                                                      const cluster::ClusterConfig& config,
                                                      etcd::NodeInfo self, const Outside& outside);

  ClusterMember* member() { return member_.get(); }

 private:
  explicit ClusterParts(const Outside& outside) : outside_(outside) {}

  const Outside outside_;
  std::unique_ptr<etcd::Kv> kv_;
  std::unique_ptr<etcd::ConfigFollower> follower_;  // ends before kv_
  std::unique_ptr<ClusterDisks> disks_;
  std::unique_ptr<KeeperSocket> keeper_;
  std::unique_ptr<FenceRuns> fence_runs_;
  std::unique_ptr<Fencing> fencing_;
  std::unique_ptr<ClusterMember> member_;
};

}  // namespace gemel::daemon
