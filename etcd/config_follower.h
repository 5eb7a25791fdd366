// Keeps a client of etcd with its cluster's file: members that came, went or moved, and certificates that
// were renewed, are used without a restart. The loop's thread.
#pragma once
#include <array>
#include <string>

#include "base/event_loop.h"
#include "base/file_util.h"
#include "base/timer.h"
#include "cluster/config/cluster_config.h"
#include "etcd/grpc_kv.h"

namespace gemel::etcd {

// With the texts of the certificates, read now.
Result<GrpcKvOptions> OptionsOf(const cluster::ClusterConfig& config);

class ConfigFollower {
 public:
  // loop and kv outlive it. `config` is what kv was made with, `path` the file that it is from.
  ConfigFollower(EventLoop* loop, GrpcKvClient* kv, std::string path,
                 const cluster::ClusterConfig& config);
  // Looks once a second from now on.
  void Begin();
  // Looks now. A file that cannot be read or used changes nothing, and is said in the log.
  void Look();

 private:
  using Stamps = std::array<FileStamp, 4>;
  Stamps StampsOf(const cluster::ClusterConfig& config) const;
  Status Use();

  EventLoop* loop_;
  GrpcKvClient* kv_;
  std::string path_;
  cluster::ClusterConfig config_;
  Stamps stamps_;
  Timer timer_;
};

}  // namespace gemel::etcd
