// A node's session: opening it, keeping it alive by heartbeats, and the deadline page that says how
// long it lasts. What gemel-keeper does, without keys, clocks or memory; one thread.
//
// The caller calls Run() at least at every moment that next_run() names and after each event, sends
// the transaction that it returns, and publishes page() after each call. Requests are never
// repeated by the caller: an answer that is late finds no one.
#pragma once
#include <optional>
#include <tuple>

#include "cluster/deadline_page.h"
#include "cluster/memory.h"
#include "cluster/records.h"
#include "cluster/timing.h"
#include "cluster/txn.h"

namespace gemel::cluster {

// What the other machines of this node must know of its session.
struct SessionView {
  NodeId node = 0;
  SessionId id;
  Revision opened;  // of session/NODE; a transaction of a live session compares it
  bool live = false;
};

class Session {
 public:
  enum class Phase : std::uint8_t { kClosed, kOpening, kLive, kClosing };

  Session() = default;
  explicit Session(NodeId node) : node_(node) {}

  // session/NODE as a view showed it. Views that Memory calls stale do not come here.
  void OnView(const SessionRecord& record, Revision changed);
  // `quiet`: every VM process of earlier sessions is reaped or has proved its latch; only then may a
  // new session open, and only then may a drained one close.
  std::optional<Txn> Run(Time now, bool quiet, const Memory& memory, const Rules& rules);
  void OnReply(Time now, RequestId id, const TxnReply& reply, Memory& memory, const Rules& rules);
  // When to call Run() next if nothing happens before. In the past: it waits for an event.
  Time next_run(const Rules& rules) const;

  // A higher incarnation: this session is over, and what views showed is void.
  void Forget();

  // A drained node closes its session once it is quiet, and opens none: it needs no vote.
  void set_drained(bool drained) { drained_ = drained; }
  // The node's etcd member may leave the quorum now.
  bool vote_given_up() const {
    return drained_ && phase_ == Phase::kClosed && known_ &&
           record_ == SessionRecord{page_.session, SessionState::kClosed};
  }

  const DeadlinePage& page() const { return page_; }
  Phase phase() const { return phase_; }
  const Outstanding& call() const { return call_; }
  SessionView view(Time now) const {
    return {
        node_, page_.session, opened_,
        (phase_ == Phase::kLive || phase_ == Phase::kClosing) && page_.Allows(page_.session, now)};
  }
  auto fields() {
    return std::tie(phase_, page_, opened_, known_, record_, changed_, call_, next_beat_, drained_);
  }

 private:
  void End();
  Txn Open(Time now, const Memory& memory);
  Txn Beat(Time now, const Memory& memory);
  Txn Close(Time now, const Memory& memory);

  NodeId node_ = 0;
  Phase phase_ = Phase::kClosed;
  DeadlinePage page_;
  Revision opened_;
  bool known_ = false;  // record_ and changed_ are what a view showed since the last session ended
  SessionRecord record_;
  Revision changed_;
  Outstanding call_;
  Time next_beat_ = kNever;
  std::uint64_t beat_ = 0;
  bool drained_ = false;
};

}  // namespace gemel::cluster
