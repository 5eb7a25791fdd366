// Time as one node reads it, and the waits that make a fence: how long an owner may go on without
// an answer, and how long a challenger must wait before it may call that owner dead.
#pragma once
#include <compare>
#include <cstdint>
#include <limits>

namespace gemel::cluster {

// A moment of one node's CLOCK_BOOTTIME, or a span of it, in microseconds. Moments of two nodes are
// never compared.
struct Time {
  std::int64_t us = 0;
  constexpr auto operator<=>(const Time&) const = default;
};
constexpr Time operator+(Time a, Time b) { return {a.us + b.us}; }
constexpr Time operator-(Time a, Time b) { return {a.us - b.us}; }
// "It has not happened": before every moment.
inline constexpr Time kNever{std::numeric_limits<std::int64_t>::min() / 4};

// Clocks of nodes run at 0.9 to 1.1 of true time, or not at all (a virtual machine that was paused):
// only storage that refuses protects against the latter.
inline constexpr std::int64_t kSlowestPercent = 90;
inline constexpr std::int64_t kFastestPercent = 110;

struct Timing {
  Time heartbeat{500'000};      // between two heartbeats
  Time call_deadline{300'000};  // after which a call to etcd counts as unanswered
  Time own{2'500'000};          // T_own: the right that one heartbeat gives, from its sending
  Time wait{3'300'000};  // T_wait: the silence, from observing, after which a challenger acts
  Time margin{200'000};  // for timers that fire late
};

// Whether the right of the slowest owner ends before the wait of the fastest challenger.
constexpr bool OwnerEndsFirst(const Timing& t) {
  return (t.wait - t.margin).us * kSlowestPercent >= t.own.us * kFastestPercent;
}
// Whether an owner that misses one answer can still renew in time.
constexpr bool OwnerCanRenew(const Timing& t) {
  return t.heartbeat.us > 0 && t.call_deadline.us > 0 &&
         2 * (t.heartbeat + t.call_deadline).us <= t.own.us;
}
static_assert(OwnerEndsFirst(Timing{}) && OwnerCanRenew(Timing{}), "DESIGN.md 'Two nodes'");

// What the tests switch off, to see that something notices. Programs leave all of it false.
struct Mutations {
  bool no_revision_compare = false;      // a fence does not compare the heartbeat's revision
  bool no_preempt_verification = false;  // a take-over believes that its PREEMPT worked
  bool credit_from_receipt = false;      // a heartbeat counts from its answer
};

struct Rules {
  Timing timing;
  Mutations mutations;
};

}  // namespace gemel::cluster
