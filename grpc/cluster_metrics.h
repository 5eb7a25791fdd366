// What /metrics shows of the cluster, as this node sees it: for the alerts of packaging/prometheus. Beside
// grpc/metrics_collector.h, and by the same rules; docs/GEMELD.md lists the metrics.
#pragma once
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "grpc/etcd_probe.h"
#include "proto/gemel/v1/clusters.pb.h"

namespace gemel::daemon {

// What a node sees at one moment.
struct ClusterSight {
  v1::ClusterStatus status;
  std::map<std::string, double> clock_rates;  // by the node's name: ClusterMember::ClockRates
  EtcdHealth etcd;
};

// Pure.
std::vector<prometheus::MetricFamily> ClusterFamilies(const ClusterSight& sight);

// On threads of the HTTP server.
class ClusterCollector final : public prometheus::Collectable {
 public:
  // All outlive it. `look` fills all but `etcd`, on the loop's thread.
  ClusterCollector(EventLoop* loop, std::function<void(ClusterSight&)> look, const EtcdProbe* probe)
      : loop_(loop), look_(std::move(look)), probe_(probe) {}

  // Waits for the loop, at most 2.5 s; nothing is shown then.
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  EventLoop* const loop_;
  const std::function<void(ClusterSight&)> look_;
  const EtcdProbe* const probe_;
  // Whether one was posted that has not begun: a loop that stalls gets no pile of them.
  const std::shared_ptr<std::atomic<bool>> posted_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace gemel::daemon
