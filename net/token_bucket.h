// Limits a rate with bursts: tokens flow in at `rate` a second, up to `burst`, and each frame takes
// its own. A frame may be taken as soon as there is a token at all, and leaves the bucket in debt:
// so a frame larger than the burst passes too, and the long-term rate holds exactly.
//
// One thread; times are any clock's that does not go back, in nanoseconds.
#pragma once
#include <cstdint>

namespace gemel::net {

class TokenBucket {
 public:
  // `rate` 0: no limit. `burst` 0: a tenth of a second's worth, at least one token.
  // REQUIRES: both at most 2^48.
  TokenBucket(std::uint64_t rate, std::uint64_t burst);

  bool limited() const { return rate_ != 0; }
  // 0 if a frame may be taken at `now`, else how many nanoseconds until one may.
  std::int64_t WaitNs(std::int64_t now);
  void Take(std::uint64_t tokens);

 private:
  std::uint64_t rate_;
  // In units of 1e-9 tokens, so that a nanosecond brings `rate_` of them.
  __extension__ using Wide = __int128;
  Wide burst_;
  Wide level_;
  std::int64_t filled_at_ = 0;
  bool started_ = false;
};

}  // namespace gemel::net
