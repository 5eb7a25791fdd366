#include "cluster/session.h"

#include <algorithm>

namespace gemel::cluster {

void Session::OnView(const SessionRecord& record, Revision changed) {
  if (changed < changed_) return;
  // Another revision of our key while we live: fenced, or the store is not the one that we knew.
  if ((phase_ == Phase::kLive || phase_ == Phase::kClosing) && changed > opened_) End();
  record_ = record;
  changed_ = changed;
  known_ = true;
}

std::optional<Txn> Session::Run(Time now, bool quiet, const Memory& memory, const Rules& rules) {
  call_.GiveUp(now, rules.timing.call_deadline);
  const bool live = phase_ == Phase::kLive || phase_ == Phase::kClosing;
  if (live && (memory.alarmed() || !page_.Allows(page_.session, now))) End();
  if (call_.waiting || memory.alarmed() || now < next_beat_) return std::nullopt;
  if (phase_ == Phase::kOpening) phase_ = Phase::kClosed;
  if (phase_ == Phase::kClosed && (!known_ || !quiet || drained_)) return std::nullopt;
  next_beat_ = now + rules.timing.heartbeat;
  if (phase_ == Phase::kClosed) return Open(now, memory);
  return drained_ && quiet ? Close(now, memory) : Beat(now, memory);
}

void Session::OnReply(Time now, RequestId id, const TxnReply& reply, Memory& memory,
                      const Rules& rules) {
  if (!call_.Matches(id)) return;
  const Time credited = rules.mutations.credit_from_receipt ? now : call_.sent_at;
  const Revision seen = call_.seen;
  call_.End();
  if (reply.result == TxnResult::kUnknown) return;
  if (memory.OnAnswer(reply.revision, seen) == Memory::Verdict::kAlarm ||
      reply.result == TxnResult::kRefused) {
    End();
    return;
  }
  const Time deadline = credited + rules.timing.own;
  if (phase_ == Phase::kClosing) {
    End();
    record_ = {page_.session, SessionState::kClosed};
    changed_ = reply.revision;
    known_ = true;
    return;
  }
  if (phase_ == Phase::kOpening) {
    if (changed_ > reply.revision) return End();  // a view has shown more than that
    phase_ = Phase::kLive;
    opened_ = reply.revision;
    changed_ = reply.revision;
    page_.poisoned = false;
    page_.deadline = deadline;
  }
  page_.Extend(deadline, now);
  if (!page_.Allows(page_.session, now)) End();
}

Time Session::next_run(const Rules& rules) const {
  const Time next = call_.waiting ? call_.sent_at + rules.timing.call_deadline : next_beat_;
  return page_.poisoned ? next : std::min(next, page_.deadline);
}

void Session::End() {
  phase_ = Phase::kClosed;
  page_.Poison();
  opened_ = {};
  record_ = {};
  known_ = false;
  call_.End();
}

void Session::Forget() {
  End();
  changed_ = {};
}

// Compares our key's revision as seen: whoever fences or opens in between wins, and we look again.
Txn Session::Open(Time now, const Memory& memory) {
  const Incarnation& incarnation = memory.incarnation();
  const std::uint64_t number =
      record_.id.incarnation == incarnation.number ? record_.id.number + 1 : 1;
  phase_ = Phase::kOpening;
  page_ = {{incarnation.number, number}, kNever, true};
  beat_ = 0;
  Txn txn;
  txn.If(KeyKind::kSession, node_, changed_);
  txn.If(KeyKind::kIncarnation, 0, incarnation.revision);
  txn.put = Txn::Put::kSessionAndBeat;
  txn.put_id = node_;
  txn.session = {page_.session, SessionState::kOpen};
  call_.Send(now, memory.highest());
  return txn;
}

// "My session, not fenced": session/NODE has not changed since we opened it.
Txn Session::Beat(Time now, const Memory& memory) {
  Txn txn;
  txn.If(KeyKind::kSession, node_, opened_);
  txn.If(KeyKind::kIncarnation, 0, memory.incarnation().revision);
  txn.put = Txn::Put::kBeat;
  txn.put_id = node_;
  txn.beat = ++beat_;
  call_.Send(now, memory.highest());
  return txn;
}

Txn Session::Close(Time now, const Memory& memory) {
  phase_ = Phase::kClosing;
  Txn txn;
  txn.If(KeyKind::kSession, node_, opened_);
  txn.If(KeyKind::kIncarnation, 0, memory.incarnation().revision);
  txn.put = Txn::Put::kSession;
  txn.put_id = node_;
  txn.session = {page_.session, SessionState::kClosed};
  call_.Send(now, memory.highest());
  return txn;
}

}  // namespace gemel::cluster
