#include "member/shared_config.h"

#include "base/file_util.h"
#include "etcd/config_follower.h"

namespace gemel::member {
namespace {

constexpr std::int64_t kDeadlineMs = 1'500;

}  // namespace

cluster::ClusterConfig SharedConfig::Get() {
  const MutexLock lock(mutex_);
  return config_;
}

Status SharedConfig::Set(const cluster::ClusterConfig& config) {
  const MutexLock lock(mutex_);
  if (config == config_) return {};
  RETURN_IF_ERROR(ReplaceFile(path_, cluster::FormatClusterConfig(config)));
  config_ = config;
  return {};
}

Result<std::unique_ptr<etcd::Admin>> ConnectToEtcd(const cluster::ClusterConfig& config) {
  ASSIGN_OR_RETURN(etcd::GrpcKvOptions options, etcd::OptionsOf(config));
  options.call_deadline_ms = kDeadlineMs;
  return etcd::CreateGrpcAdmin(options);
}

}  // namespace gemel::member
