// etcd, kept running: started again with a growing pause when it ends. The loop's thread.
#pragma once
#include <optional>
#include <string>

#include "base/event_loop.h"
#include "base/timer.h"
#include "cluster/config/cluster_config.h"
#include "launch/child_process.h"

namespace gemel::member {

class EtcdProcess {
 public:
  explicit EtcdProcess(EventLoop* loop) : loop_(loop) {}
  ~EtcdProcess();

  // Starts it with this configuration, and from then on when it ends. kFailedPrecondition: its data is
  // gone, or is that of another cluster; then nothing is started. Nor is it on a node without a vote.
  Status Begin(const cluster::ClusterConfig& config);
  // What the next start is given.
  void SetConfig(const cluster::ClusterConfig& config) { config_ = config; }
  // Asks it to end and waits, at most some seconds.
  void End();

 private:
  void Start();
  void OnEnd();

  EventLoop* loop_;
  cluster::ClusterConfig config_;
  std::optional<launch::ChildProcess> process_;
  std::int64_t started_ms_ = 0;
  std::int64_t pause_ms_ = 0;
  Timer timer_;
};

}  // namespace gemel::member
