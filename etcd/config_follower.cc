#include "etcd/config_follower.h"

#include <utility>

#include "base/log.h"

namespace gemel::etcd {
namespace {

constexpr std::int64_t kEveryMs = 1'000;

}  // namespace

Result<GrpcKvOptions> OptionsOf(const cluster::ClusterConfig& config) {
  GrpcKvOptions options;
  options.endpoints = config.endpoints;
  if (config.ca.empty()) return options;
  ASSIGN_OR_RETURN(options.ca, ReadTextFile(config.ca));
  ASSIGN_OR_RETURN(options.certificate, ReadTextFile(config.certificate));
  ASSIGN_OR_RETURN(options.key, ReadTextFile(config.key));
  return options;
}

ConfigFollower::ConfigFollower(EventLoop* loop, GrpcKvClient* kv, std::string path,
                               const cluster::ClusterConfig& config)
    : loop_(loop), kv_(kv), path_(std::move(path)), config_(config), stamps_(StampsOf(config)) {}

ConfigFollower::Stamps ConfigFollower::StampsOf(const cluster::ClusterConfig& config) const {
  return {StampOf(path_), StampOf(config.ca), StampOf(config.certificate), StampOf(config.key)};
}

void ConfigFollower::Begin() {
  const Status set = timer_.Start(loop_, kEveryMs, [this] {
    Look();
    Begin();
  });
  if (!set) LOG(kError, "etcd", "{}: not followed: {}", path_, set.error().message);
}

void ConfigFollower::Look() {
  const Stamps now = StampsOf(config_);
  if (now == stamps_) return;
  stamps_ = now;
  const Status used = Use();
  if (!used) LOG(kError, "etcd", "what changed is not used: {}", used.error().message);
  if (used) LOG(kInfo, "etcd", "members are {}", fmt::join(config_.endpoints, ", "));
}

Status ConfigFollower::Use() {
  ASSIGN_OR_RETURN(cluster::ClusterConfig config, cluster::ReadClusterConfig(path_));
  if (config.node != config_.node)
    return FailedPrecondition("{}: node: {} became {}: restart this program", path_, config_.node,
                              config.node);
  ASSIGN_OR_RETURN(const GrpcKvOptions options, OptionsOf(config));
  RETURN_IF_ERROR(kv_->Update(options));
  config_ = std::move(config);
  stamps_ = StampsOf(config_);
  return {};
}

}  // namespace gemel::etcd
