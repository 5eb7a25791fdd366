// What /metrics shows of the node and its machines, in Prometheus's terms: made from what is
// published, at each scrape. docs/GEMELD.md lists the metrics; the alert rules and the dashboard in
// packaging/prometheus use them.
//
// A scrape waits, at most 2.5 s, for machines to be asked; nobody waits for a scrape. The number of
// series is bounded by what is defined: names that a machine's process makes up are not shown.
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
#include "grpc/vm_manager.h"
#include "grpc/vm_sampler.h"
#include "proto/gemel/v1/disks.pb.h"
#include "proto/gemel/v1/nodes.pb.h"

namespace gemel::daemon {

// Families of the node, and of machines with their samples. Pure.
std::vector<prometheus::MetricFamily> NodeFamilies(const v1::Node& node);
std::vector<prometheus::MetricFamily> MachineFamilies(const std::string& node,
                                                      const Published& published);
// Families of its pools, and of what has happened since the daemon's start.
std::vector<prometheus::MetricFamily> PoolFamilies(const std::string& node,
                                                   const std::vector<v1::Pool>& pools);
std::vector<prometheus::MetricFamily> EventFamilies(
    const std::string& node, const std::map<v1::EventType, std::uint64_t>& counts);

// On threads of the HTTP server.
class MetricsCollector final : public prometheus::Collectable {
 public:
  // All outlive it. `describe` and `pools` are called on any thread.
  MetricsCollector(EventLoop* loop, VmSampler* sampler, const Published* published,
                   std::function<v1::Node()> describe, std::function<std::vector<v1::Pool>()> pools)
      : loop_(loop),
        sampler_(sampler),
        published_(published),
        describe_(std::move(describe)),
        pools_(std::move(pools)) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  void Refresh() const;

  EventLoop* const loop_;
  VmSampler* const sampler_;
  const Published* const published_;
  const std::function<v1::Node()> describe_;
  const std::function<std::vector<v1::Pool>()> pools_;
  // Whether one was posted that has not begun: a loop that stalls gets no pile of them.
  const std::shared_ptr<std::atomic<bool>> posted_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace gemel::daemon
