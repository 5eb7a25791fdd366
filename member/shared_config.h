// gemel-member's configuration, which it changes itself as members come and go. Any thread.
#pragma once
#include <memory>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "base/result.h"
#include "cluster/config/cluster_config.h"
#include "etcd/grpc_admin.h"

namespace gemel::member {

class SharedConfig {
 public:
  SharedConfig(std::string path, cluster::ClusterConfig config)
      : path_(std::move(path)), config_(std::move(config)) {}

  cluster::ClusterConfig Get() EXCLUDES(mutex_);
  // Writes the file, if it says something else now.
  Status Set(const cluster::ClusterConfig& config) EXCLUDES(mutex_);
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
  Mutex mutex_;
  cluster::ClusterConfig config_ GUARDED_BY(mutex_);
};

// etcd's client with this configuration's certificates, read now.
Result<std::unique_ptr<etcd::Admin>> ConnectToEtcd(const cluster::ClusterConfig& config);

}  // namespace gemel::member
