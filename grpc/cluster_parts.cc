#include "grpc/cluster_parts.h"

#include <utility>

#include "base/file_util.h"
#include "cluster/page/page_memory.h"
#include "etcd/grpc_kv.h"

namespace gemel::daemon {
namespace {

Result<etcd::GrpcKvOptions> EtcdOptions(const cluster::ClusterConfig& config) {
  etcd::GrpcKvOptions options;
  options.endpoints = config.endpoints;
  if (config.ca.empty()) return options;
  ASSIGN_OR_RETURN(options.ca, ReadTextFile(config.ca));
  ASSIGN_OR_RETURN(options.certificate, ReadTextFile(config.certificate));
  ASSIGN_OR_RETURN(options.key, ReadTextFile(config.key));
  return options;
}

}  // namespace

Result<std::unique_ptr<ClusterParts>> ClusterParts::Create(const cluster::ClusterConfig& config,
                                                           etcd::NodeInfo self,
                                                           const Outside& outside) {
  std::unique_ptr<ClusterParts> made(new ClusterParts(outside));
  ASSIGN_OR_RETURN(const etcd::GrpcKvOptions options, EtcdOptions(config));
  ASSIGN_OR_RETURN(made->kv_, etcd::CreateGrpcKv(outside.loop, options));
  const ClusterIdentity identity{config.node,
                                 fmt::format("iqn.2026-11.gemel:{}.{}", config.cluster, self.name)};
  made->disks_ = std::make_unique<IscsiClusterDisks>(IscsiClusterDisks::Outside{
      outside.loop, identity.initiator,
      [raw = made.get()](ClusterVm vm) { return raw->member_->DisksOf(vm); }});
  made->keeper_ = std::make_unique<KeeperSocket>(outside.loop, config.run_dir + "/keeper.sock",
                                                 [raw = made.get()] { raw->member_->Look(); });
  made->member_ = std::make_unique<ClusterMember>(
      config.node, std::move(self),
      ClusterMember::Outside{outside.loop, outside.clock, made->kv_.get(), made->keeper_.get(),
                             made->disks_.get(), identity, outside.supervisor, outside.records,
                             cluster::BootTime});
  return made;
}

}  // namespace gemel::daemon
