#include "net/token_bucket.h"

#include <algorithm>

namespace gemel::net {
namespace {
constexpr std::int64_t kNano = 1'000'000'000;
}  // namespace

TokenBucket::TokenBucket(std::uint64_t rate, std::uint64_t burst)
    : rate_(rate),
      burst_(static_cast<Wide>(burst != 0 ? burst : std::max<std::uint64_t>(rate / 10, 1)) * kNano),
      level_(burst_) {}

std::int64_t TokenBucket::WaitNs(std::int64_t now) {
  if (rate_ == 0) return 0;
  if (!started_) filled_at_ = now;
  started_ = true;
  if (now > filled_at_) {
    level_ = std::min(burst_, level_ + static_cast<Wide>(now - filled_at_) * rate_);
    filled_at_ = now;
  }
  if (level_ > 0) return 0;
  // Rounded up, and one more: then the level is above zero.
  return static_cast<std::int64_t>(-level_ / static_cast<Wide>(rate_)) + 1;
}

void TokenBucket::Take(std::uint64_t tokens) {
  if (rate_ != 0) level_ -= static_cast<Wide>(tokens) * kNano;
}

}  // namespace gemel::net
