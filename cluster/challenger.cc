#include "cluster/challenger.h"

#include <utility>

namespace gemel::cluster {

void Challenger::OnView(Time now, const SessionRecord& record, Revision session, Revision beat) {
  if (known_ && (session < session_ || beat < beat_)) return;
  if (!known_ || beat != beat_ || session != session_) silent_since_ = now;
  known_ = true;
  record_ = record;
  session_ = session;
  beat_ = beat;
}

std::optional<Txn> Challenger::Run(Time now, const SessionView& mine, const Memory& memory,
                                   const Rules& rules) {
  call_.GiveUp(now, rules.timing.call_deadline);
  if (!call_.waiting) saying_ = OffBy::kNobody;
  const bool open = known_ && session_.value > 0 && record_.state == SessionState::kOpen;
  if (!open || call_.waiting || !mine.live || now < retry_at_) return std::nullopt;
  if (now - silent_since_ < rules.timing.wait) return std::nullopt;
  retry_at_ = now + rules.timing.heartbeat;
  Txn txn;
  // The same heartbeat still: one that arrived since, unseen by us, refuses.
  if (!rules.mutations.no_revision_compare) txn.If(KeyKind::kBeat, peer_, beat_);
  return Put(now, OffBy::kNobody, txn, mine, memory);
}

// A session of before the store was restored cannot live, and says nothing of the node's later ones.
std::optional<Txn> Challenger::SayOff(Time now, OffBy by, const SessionView& mine,
                                      const Memory& memory) {
  const bool before = record_.id.incarnation < memory.incarnation().number;
  const bool over =
      record_.state == SessionState::kFenced || (before && record_.state == SessionState::kClosed);
  if (!known_ || session_.value == 0 || !over || record_.off != OffBy::kNobody) return std::nullopt;
  if (call_.waiting || !mine.live || memory.alarmed()) return std::nullopt;
  return Put(now, by, {}, mine, memory);
}

std::optional<Txn> Challenger::Put(Time now, OffBy off, Txn txn, const SessionView& mine,
                                   const Memory& memory) {
  txn.If(KeyKind::kSession, peer_, session_);
  txn.If(KeyKind::kSession, mine.node, mine.opened);
  txn.If(KeyKind::kIncarnation, 0, memory.incarnation().revision);
  txn.put = Txn::Put::kSession;
  txn.put_id = peer_;
  txn.session = {record_.id, SessionState::kFenced, off};
  saying_ = off;
  call_.Send(now, memory.highest());
  return txn;
}

void Challenger::OnReply(Time now, RequestId id, const TxnReply& reply, Memory& memory,
                         const Rules& rules) {
  if (!call_.Matches(id)) return;
  const Revision seen = call_.seen;
  const OffBy said = std::exchange(saying_, OffBy::kNobody);
  call_.End();
  if (reply.result == TxnResult::kUnknown) return;  // nothing is known: a view will show it
  if (memory.OnAnswer(reply.revision, seen) == Memory::Verdict::kAlarm) return;
  if (reply.result == TxnResult::kRefused) {
    silent_since_ = rules.mutations.no_revision_compare ? silent_since_ : now;
    return;
  }
  if (reply.revision < session_) return;  // a view has shown more than that
  record_.state = SessionState::kFenced;
  record_.off = said;
  session_ = reply.revision;
}

}  // namespace gemel::cluster
