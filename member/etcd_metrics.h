// What etcd on this machine says of itself at its socket of metrics: how long its disk takes, and how often
// the leader changed. Its histograms count since it began; what is shown is the last minute.
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gemel::member {

// How many took at most so long; bounds rise, the last one is endless.
struct Histogram {
  struct Bucket {
    double seconds = 0;
    std::uint64_t count = 0;
  };
  std::vector<Bucket> buckets;
};

struct EtcdMetrics {
  Histogram fsync;   // of its log: what each write waits for
  Histogram commit;  // of its database
  std::uint64_t leader_changes = 0;
};

// Of Prometheus's text format. kInvalidArgument if there is nothing of it.
Result<EtcdMetrics> ParseEtcdMetrics(std::string_view text);
// Asks by HTTP at a socket; at most a second.
Result<EtcdMetrics> ReadEtcdMetrics(const std::string& socket);

// The bound that 99 of 100 are below, of what came between the two, in microseconds; 0 if nothing did.
std::int64_t P99Us(const Histogram& before, const Histogram& now);

// The last minute of one etcd. One thread.
class EtcdWatch {
 public:
  void Add(const EtcdMetrics& metrics, std::int64_t now_ms);
  std::int64_t fsync_p99_us() const;
  std::int64_t commit_p99_us() const;
  std::uint64_t leader_changes() const;

 private:
  struct Sample {
    std::int64_t at_ms = 0;
    EtcdMetrics metrics;
  };
  std::deque<Sample> samples_;
};

}  // namespace gemel::member
