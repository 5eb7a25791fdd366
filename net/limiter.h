// Both limits of one direction of a device: bytes and frames a second. One thread.
#pragma once
#include <algorithm>
#include <cstdint>

#include "base/clock.h"
#include "net/token_bucket.h"

namespace gemel::net {

// 0 a second: no limit; 0 of burst: a tenth of a second's worth.
struct RateLimit {
  std::uint64_t bytes = 0, bytes_burst = 0;
  std::uint64_t packets = 0, packets_burst = 0;
};

class Limiter {
 public:
  // `clock` outlives this.
  Limiter(const RateLimit& limit, const Clock* clock)
      : clock_(clock),
        bytes_(limit.bytes, limit.bytes_burst),
        packets_(limit.packets, limit.packets_burst) {}

  bool limited() const { return bytes_.limited() || packets_.limited(); }
  // 0 if a frame may pass now, else how many nanoseconds until one may. Without a limit it costs
  // nothing.
  std::int64_t WaitNs() {
    if (!limited()) return 0;
    const std::int64_t now = clock_->MonotonicNow();
    return std::max(bytes_.WaitNs(now), packets_.WaitNs(now));
  }
  void Take(std::uint64_t bytes) {
    bytes_.Take(bytes);
    packets_.Take(1);
  }

 private:
  const Clock* const clock_;
  TokenBucket bytes_, packets_;
};

}  // namespace gemel::net
