// How fast another node's clock runs beside ours, from its heartbeats: one a half second of its own clock,
// at the most. What is held up on the way makes them fewer, never more, so that a clock that seems fast
// is fast (or ours is slow), and one that seems slow may be a busy node. Pure.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "cluster/timing.h"

namespace gemel::daemon {

class BeatRate {
 public:
  static constexpr cluster::Time kWindow{600'000'000};
  static constexpr cluster::Time kLeast{120'000'000};  // nothing is said before so long
  static constexpr cluster::Time kGap{1'500'000};      // after such a silence it begins anew

  // A heartbeat with this number was seen.
  void OnBeat(std::uint64_t count, cluster::Time now) {
    if (!seen_.empty() && (count <= last_.first || now - last_.second > kGap)) seen_.clear();
    last_ = {count, now};
    if (seen_.empty() || now - seen_.back().second >= kEvery) seen_.push_back(last_);
    while (now - seen_.front().second > kWindow) seen_.pop_front();
  }

  // 1: as fast as ours. nullopt: not known yet.
  std::optional<double> rate() const {
    if (seen_.empty() || last_.second - seen_.front().second < kLeast) return std::nullopt;
    const double beats = static_cast<double>(last_.first - seen_.front().first);
    const double heartbeat = static_cast<double>(cluster::Timing{}.heartbeat.us);
    return beats * heartbeat / static_cast<double>((last_.second - seen_.front().second).us);
  }

 private:
  static constexpr cluster::Time kEvery{10'000'000};

  std::deque<std::pair<std::uint64_t, cluster::Time>> seen_;  // one in kEvery, of the window
  std::pair<std::uint64_t, cluster::Time> last_;
};

}  // namespace gemel::daemon
