// Watches the heartbeats of one other node, and fences its session after T_wait of silence. What
// this node has observed is the only evidence: no lease, no closed stream, no other clock.
#pragma once
#include <optional>
#include <tuple>

#include "cluster/memory.h"
#include "cluster/records.h"
#include "cluster/session.h"
#include "cluster/timing.h"
#include "cluster/txn.h"

namespace gemel::cluster {

class Challenger {
 public:
  Challenger() = default;
  explicit Challenger(NodeId peer) : peer_(peer) {}

  // session/PEER and beat/PEER as one consistent view showed them now.
  void OnView(Time now, const SessionRecord& record, Revision session, Revision beat);
  std::optional<Txn> Run(Time now, const SessionView& mine, const Memory& memory,
                         const Rules& rules);
  // What records that the peer is off, as somebody has found out. Of a session that lives nobody may say so,
  // and once is enough: nullopt.
  std::optional<Txn> SayOff(Time now, OffBy by, const SessionView& mine, const Memory& memory);
  void OnReply(Time now, RequestId id, const TxnReply& reply, Memory& memory, const Rules& rules);
  // A higher incarnation: what was seen before is void.
  void Forget() {
    const RequestId last = call_.id;  // numbers go on: a late answer must not match a new call
    *this = Challenger(peer_);
    call_.id = last;
  }

  NodeId peer() const { return peer_; }
  // The peer's session as last seen or fenced by us; kept with the revision that proves it.
  bool known() const { return known_; }
  const SessionRecord& record() const { return record_; }
  Revision session() const { return session_; }
  const Outstanding& call() const { return call_; }
  auto fields() {
    return std::tie(known_, record_, session_, beat_, silent_since_, retry_at_, call_, saying_);
  }

 private:
  std::optional<Txn> Put(Time now, OffBy off, Txn txn, const SessionView& mine,
                         const Memory& memory);

  NodeId peer_ = 0;
  bool known_ = false;
  SessionRecord record_;
  Revision session_;
  Revision beat_;
  Time silent_since_ = kNever;  // since when, on our clock, beat_ has been the last that we saw
  Time retry_at_ = kNever;
  Outstanding call_;
  OffBy saying_ = OffBy::kNobody;  // with what is outstanding
};

}  // namespace gemel::cluster
