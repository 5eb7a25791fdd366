#include "grpc/cluster_parts.h"

#include <utility>

#include "cluster/page/page_memory.h"
#include "etcd/config_follower.h"
#include "etcd/grpc_kv.h"

namespace gemel::daemon {
Result<std::unique_ptr<ClusterParts>> ClusterParts::Create(const std::string& path,
                                                           const cluster::ClusterConfig& config,
                                                           etcd::NodeInfo self,
                                                           const Outside& outside) {
  std::unique_ptr<ClusterParts> made(new ClusterParts(outside));
  ASSIGN_OR_RETURN(const etcd::GrpcKvOptions options, etcd::OptionsOf(config));
  ASSIGN_OR_RETURN(std::unique_ptr<etcd::GrpcKvClient> kv,
                   etcd::CreateGrpcKv(outside.loop, options));
  made->follower_ = std::make_unique<etcd::ConfigFollower>(outside.loop, kv.get(), path, config);
  made->follower_->Begin();
  made->kv_ = std::move(kv);
  const ClusterIdentity identity{config.node,
                                 fmt::format("iqn.2026-11.gemel:{}.{}", config.cluster, self.name)};
  auto disks = std::make_unique<IscsiClusterDisks>(IscsiClusterDisks::Outside{
      outside.loop, identity.initiator,
      [raw = made.get()](ClusterVm vm) { return raw->member_->DisksOf(vm); }});
  const auto known = [raw = disks.get()](ClusterVm vm) { return raw->known(vm); };
  made->disks_ = std::move(disks);
  made->keeper_ = std::make_unique<KeeperSocket>(outside.loop, config.run_dir + "/keeper.sock",
                                                 [raw = made.get()] { raw->member_->Look(); });
  made->fence_runs_ = std::make_unique<FenceRuns>(outside.loop);
  made->fencing_ = std::make_unique<Fencing>(
      outside.fence_agents,
      [runs = made->fence_runs_.get()](const FenceAgent& agent, const std::string& action,
                                       const Fencing::Done& done) {
        runs->Run(agent, action, done);
      },
      cluster::BootTime);
  self.can_fence = made->fencing_->nodes();
  made->member_ = std::make_unique<ClusterMember>(
      config.node, std::move(self),
      ClusterMember::Outside{outside.loop, outside.clock, made->kv_.get(), made->keeper_.get(),
                             made->disks_.get(), identity, outside.supervisor, outside.records,
                             cluster::BootTime, known, outside.ordinary_memory, outside.peers,
                             made->fencing_.get()});
  return made;
}

}  // namespace gemel::daemon
