// What a node remembers of etcd over its own restarts: the highest it has seen. An answer from
// before that is a store that went back (a restored backup, a disk that lied): stop, and alert.
#pragma once
#include <cstdint>
#include <tuple>

#include "cluster/records.h"
#include "cluster/timing.h"

namespace gemel::cluster {

// The incarnation as the node last saw it.
struct Incarnation {
  std::uint64_t number = 0;
  Revision revision;  // of its key
  // When this node first saw it. Sessions of earlier incarnations are over T_wait later.
  Time seen_at = kNever;
  auto fields() { return std::tie(number, revision, seen_at); }
};

class Memory {
 public:
  enum class Verdict : std::uint8_t {
    kCurrent,  // use it
    kStale,    // older than what was seen: another member's past. Ignore it
    kNew,      // a higher incarnation: whatever was known is void
    kAlarm,    // the store went back: stop everything
  };
  Memory() = default;
  // What was kept over a restart; incarnation.seen_at is of the clock that runs now.
  Memory(const Incarnation& incarnation, Revision highest, bool alarmed)
      : incarnation_(incarnation), highest_(highest), alarmed_(alarmed) {}

  // A consistent view of the store, from a watch or a read, which a member that is behind may give.
  Verdict OnView(std::uint64_t incarnation, Revision incarnation_key, Revision store, Time now);
  // A transaction's answer, which no member that is behind can give. `seen` is highest() of when it was
  // sent: views that came meanwhile may well be of later than an answer that was slow.
  Verdict OnAnswer(Revision store, Revision seen);

  // The node began anew: its numbers are durable, its clock is another one.
  void OnRestart(Time now) { incarnation_.seen_at = now; }

  Revision highest() const { return highest_; }
  bool alarmed() const { return alarmed_; }
  const Incarnation& incarnation() const { return incarnation_; }
  auto fields() { return std::tie(incarnation_, highest_, alarmed_); }

 private:
  Incarnation incarnation_;
  Revision highest_;
  bool alarmed_ = false;
};

}  // namespace gemel::cluster
