#include "member/shared_config.h"

#include "base/file_util.h"

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
  etcd::GrpcKvOptions options;
  options.endpoints = config.endpoints;
  options.call_deadline_ms = kDeadlineMs;
  if (!config.ca.empty()) {
    ASSIGN_OR_RETURN(options.ca, ReadTextFile(config.ca));
    ASSIGN_OR_RETURN(options.certificate, ReadTextFile(config.certificate));
    ASSIGN_OR_RETURN(options.key, ReadTextFile(config.key));
  }
  return etcd::CreateGrpcAdmin(options);
}

}  // namespace gemel::member
