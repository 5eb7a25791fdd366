// The events that are kept, in memory: the manager loop appends what is durable, watchers read from
// where they are. A watcher has a place, not a queue: one who falls behind by more than is kept is
// told so, and costs nothing.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "grpc/api_error.h"
#include "proto/gemel/v1/events.pb.h"

namespace gemel::daemon {

// Any thread.
class EventLog {
 public:
  using EventPtr = std::shared_ptr<const v1::Event>;
  using Entry = std::pair<std::uint64_t, EventPtr>;
  // Where one of the cluster's events is in their order.
  struct Position {
    std::uint64_t incarnation = 0;
    std::int64_t revision = 0;
    auto operator<=>(const Position&) const = default;
  };
  static Position PositionOf(const v1::Event& event) {
    return {event.decision().incarnation(), event.decision().revision()};
  }
  // Where a watch goes on: after this sequence number, and without the cluster's events up to there.
  struct Place {
    std::uint64_t sequence = 0;
    Position seen;
  };
  static constexpr std::size_t kKept = 10'000;

  // `store_id` tells this log's tokens from those of a store that was lost.
  explicit EventLog(std::string store_id) : store_id_(std::move(store_id)) {}

  // Sequence numbers rise by one. Wakes those who wait.
  void Append(std::uint64_t sequence, v1::Event event) EXCLUDES(mutex_);
  // One that an earlier daemon has appended.
  void Restore(std::uint64_t sequence, v1::Event event) EXCLUDES(mutex_);
  // How many of each type were appended.
  std::map<v1::EventType, std::uint64_t> counts() const EXCLUDES(mutex_);

  std::string TokenOf(std::uint64_t sequence) const EXCLUDES(mutex_);
  // The sequence number of a token; kInvalidArgument if it is none, kOutOfRange if events after it are no
  // longer kept or if it is of another store.
  ApiResult<std::uint64_t> ParseToken(std::string_view token) const EXCLUDES(mutex_);
  // The same, also of another node's token: this log goes on after the cluster's last event of before it.
  // kOutOfRange, too, if it is not known whether all of the cluster's events after it are here.
  ApiResult<Place> Resume(std::string_view token) const EXCLUDES(mutex_);
  std::uint64_t last() const EXCLUDES(mutex_);

  // Up to `limit` events after `sequence`, oldest first. kOutOfRange as above.
  ApiResult<std::vector<Entry>> After(std::uint64_t sequence, std::size_t limit) const
      EXCLUDES(mutex_);

  // All that are kept after `sequence`, oldest first.
  std::vector<Entry> Kept(std::uint64_t sequence) const EXCLUDES(mutex_);

  // Calls `wake` once when there is an event after `sequence`, at once if there is one; on any
  // thread, with no lock held. Returns an id for Forget, after which it is not called any more
  // unless it is being called right now.
  std::uint64_t WakeAfter(std::uint64_t sequence, std::function<void()> wake) EXCLUDES(mutex_);
  void Forget(std::uint64_t id) EXCLUDES(mutex_);

 private:
  ApiError Expired(std::string_view token) const;
  std::string NewestToken() const REQUIRES(mutex_);

  void Keep(std::uint64_t sequence, v1::Event event) REQUIRES(mutex_);

  const std::string store_id_;
  mutable Mutex mutex_;
  std::deque<Entry> entries_ GUARDED_BY(mutex_);
  std::uint64_t last_ GUARDED_BY(mutex_) = 0;
  std::map<v1::EventType, std::uint64_t> counts_ GUARDED_BY(mutex_);
  Position newest_ GUARDED_BY(mutex_);  // of the cluster's events
  std::uint64_t next_waiter_ GUARDED_BY(mutex_) = 1;
  std::map<std::uint64_t, std::function<void()>> waiters_ GUARDED_BY(mutex_);
};

}  // namespace gemel::daemon
