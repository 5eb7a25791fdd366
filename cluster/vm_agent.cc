#include "cluster/vm_agent.h"

namespace gemel::cluster {
namespace {

using ForProcess = AgentStep::ForProcess;
using State = Process::State;

bool MayIssue(const Process& process) { return process.state == State::kRunning; }

}  // namespace

void VmAgent::OnView(const Ownership& record, Revision changed) {
  if (known_ && changed <= changed_) return;
  if (record.epoch > record_.epoch) retake_ = false;
  known_ = true;
  confirmed_ = false;
  record_ = record;
  changed_ = changed;
}

AgentStep VmAgent::Run(Time now, const AgentInput& input, const Memory& memory,
                       const Rules& rules) {
  const Now at{now, input, memory, rules};
  AgentStep step;
  call_.GiveUp(now, rules.timing.call_deadline);
  if (!call_.waiting) proposed_ = {};
  if (!known_) return step;
  if (MustKill(at)) {
    retake_ = input.process.state == State::kConflicted;
    step.process = ForProcess::kKill;
    return step;
  }
  if (!input.session.live || memory.alarmed()) return step;
  if (!Mine(at)) {
    TakeOver(at, &step);
  } else if (record_.state == VmState::kFencing) {
    Fence(at, &step);
  } else if (NeedsNewEpoch(input.process) && record_.state != VmState::kMoving) {
    Retake(at, &step);
  } else if (record_.state == VmState::kStarting) {
    Start(at, &step);
  } else if (record_.state == VmState::kRunning) {
    Keep(at, &step);
  } else {
    GiveAway(at, &step);
  }
  return step;
}

void VmAgent::OnReply(Time now, RequestId id, const TxnReply& reply, Memory& memory,
                      const Rules& rules) {
  if (!call_.Matches(id)) return;
  const Revision seen = call_.seen;
  call_.End();
  if (reply.result == TxnResult::kUnknown) return;  // nothing is known: a view will show it
  if (memory.OnAnswer(reply.revision, seen) == Memory::Verdict::kAlarm) return;
  if (reply.result == TxnResult::kRefused) {
    retry_at_ = now + rules.timing.heartbeat;
    return;
  }
  if (reply.revision < changed_) return;  // a view has shown more than that
  if (proposed_.epoch > record_.epoch) {
    claim_ = StorageClaim({node_, proposed_.epoch});
    retake_ = false;
  }
  record_ = proposed_;
  changed_ = reply.revision;
  confirmed_ = true;
}

void VmAgent::OnStorage(const StorageAnswer& answer, const Rules& rules) {
  if (!claiming_) return;
  claiming_ = false;
  claim_.OnAnswer(answer, rules);
}

bool VmAgent::Mine(const Now& at) const {
  return record_.owner == node_ && record_.session == at.input.session.id &&
         record_.state != VmState::kFree &&
         record_.epoch.incarnation == at.memory.incarnation().number;
}

// A paused machine may go on if etcd and the storage show that nobody had it in between.
bool VmAgent::Resumable(const Process& process) const {
  if (process.state != State::kLatched || record_.owner != node_) return false;
  if (record_.epoch == process.epoch) return record_.state == VmState::kRunning;
  const bool claiming = record_.state == VmState::kFencing || record_.state == VmState::kStarting;
  if (!claiming || record_.last.node != node_ || record_.last.epoch != process.epoch) return false;
  if (claim_.mine() == StorageKey{node_, record_.epoch}) return !claim_.saw_other_node();
  return record_.state == VmState::kFencing && record_.session != process.session;
}

bool VmAgent::MustKill(const Now& at) const {
  const Process& process = at.input.process;
  if (process.state == State::kNone) return false;
  if (process.state == State::kConflicted) return true;
  if (process.epoch.incarnation < at.memory.incarnation().number) return true;
  return record_.epoch > process.epoch && !Resumable(process);
}

bool VmAgent::IsOver(const Now& at, NodeId node, SessionId session, Epoch epoch, Txn* proof) const {
  if (node == 0) return true;
  // What a restored store says of who ran what is not to be believed: all of before must be over.
  const Incarnation& incarnation = at.memory.incarnation();
  if (epoch.incarnation < incarnation.number)
    return at.time - incarnation.seen_at >= at.rules.timing.wait;
  if (node == node_) return !MayIssue(at.input.process);
  for (const PeerSession& peer : at.input.peers) {
    if (peer.node != node || !ProvesOver(peer.record, session)) continue;
    proof->If(KeyKind::kSession, node, peer.changed);
    return true;
  }
  return false;
}

// The last line of a disk that refuses nobody. What proves it does not go away while it matters, and is in
// the session's record, which IsOver() has compared.
bool VmAgent::IsOff(const Now& at) const {
  return !at.input.prove_off ||
         MustBeProvedOff(node_, record_, at.memory.incarnation().number, at.input.peers) == 0;
}

// Whether the machine was left for another node that can take it. One that has left, or was fenced
// since, must not keep everybody from it for ever.
bool VmAgent::IsReserved(const Now& at, Txn* proof) const {
  if (record_.reserved_for == 0 || record_.reserved_for == node_) return false;
  for (const PeerSession& peer : at.input.peers) {
    if (peer.node != record_.reserved_for || peer.record.state == SessionState::kOpen) continue;
    proof->If(KeyKind::kSession, peer.node, peer.changed);
    return false;
  }
  return true;
}

bool VmAgent::MayTake(const Now& at, Txn* proof) const {
  if (record_.epoch.incarnation == at.memory.incarnation().number &&
      record_.state == VmState::kFree)
    return !IsReserved(at, proof);
  const NodeId owner = record_.state == VmState::kFree ? node_ : record_.owner;
  return IsOver(at, owner, record_.session, record_.epoch, proof);
}

void VmAgent::TakeOver(const Now& at, AgentStep* step) {
  Txn proof;
  if (at.input.want != Want::kRun || !MayTake(at, &proof) || !IsOff(at)) return;
  const std::uint64_t incarnation = at.memory.incarnation().number;
  const bool same = record_.epoch.incarnation == incarnation;
  Ownership next;
  next.owner = node_;
  next.session = at.input.session.id;
  next.epoch = {incarnation, same ? record_.epoch.counter + 1 : 1};
  next.state = VmState::kFencing;
  next.last = LastIssuer(record_);
  Propose(at, next, proof, step);
}

void VmAgent::Fence(const Now& at, AgentStep* step) {
  if (claim_.mine() != StorageKey{node_, record_.epoch}) {
    claim_ = StorageClaim({node_, record_.epoch});  // gemeld began anew: so does the fence
    claiming_ = false;
  }
  Txn proof;
  const Issuer& last = record_.last;
  if (!IsOver(at, last.node, last.session, last.epoch, &proof) || !IsOff(at)) return;
  if (claim_.phase() == StorageClaim::Phase::kHeld) {
    ProposeState(at, VmState::kStarting, proof, step);
  } else if (!claiming_) {
    step->storage = claim_.Next();
    claiming_ = step->storage.op != StorageCommand::Op::kNone;
  }
}

void VmAgent::Start(const Now& at, AgentStep* step) {
  const Process& process = at.input.process;
  if (process.state == State::kRunning) {
    ProposeState(at, VmState::kRunning, {}, step);
    return;
  }
  // Nothing of it was started in this life, or nothing is left of that: it need not be, to be given away.
  if (process.state == State::kNone && at.input.want == Want::kGiveAway) {
    Leave(at, step);
    return;
  }
  if (!confirmed_) {
    ProposeState(at, VmState::kStarting, {}, step);
    return;
  }
  step->process = process.state == State::kNone ? ForProcess::kStart : ForProcess::kResume;
  step->session = record_.session;
  step->epoch = record_.epoch;
}

void VmAgent::Keep(const Now& at, AgentStep* step) {
  const Process& process = at.input.process;
  if (at.input.want == Want::kGiveAway) {
    Leave(at, step);
  } else if (process.state == State::kNone) {
    ProposeState(at, VmState::kStarting, {}, step);  // it ended by itself: start it again
  }
}

void VmAgent::Leave(const Now& at, AgentStep* step) {
  Ownership next = record_;
  next.state = VmState::kMoving;
  next.reserved_for = at.input.want_node;
  Propose(at, next, {}, step);
}

// Storage refused it, or it is shut though the session lives: a latch is for ever.
bool VmAgent::NeedsNewEpoch(const Process& process) const {
  return retake_ || (process.state == State::kLatched && process.epoch == record_.epoch);
}

void VmAgent::Retake(const Now& at, AgentStep* step) {
  Ownership next = record_;
  next.epoch.counter += 1;
  next.state = VmState::kFencing;
  next.last = LastIssuer(record_);
  Propose(at, next, {}, step);
}

void VmAgent::GiveAway(const Now& at, AgentStep* step) {
  if (at.input.process.state == State::kNone) {
    Ownership next = record_;
    next.owner = 0;
    next.session = {};
    next.state = VmState::kFree;
    next.last = {};
    Propose(at, next, {}, step);
    return;
  }
  step->process = MayIssue(at.input.process) ? ForProcess::kStop : ForProcess::kKill;
}

void VmAgent::Propose(const Now& at, const Ownership& next, Txn txn, AgentStep* step) {
  if (call_.waiting || at.time < retry_at_) return;
  step->would_ask = !at.input.may_ask;
  if (step->would_ask) return;
  txn.If(KeyKind::kVm, vm_, changed_);
  txn.If(KeyKind::kSession, node_, at.input.session.opened);
  txn.If(KeyKind::kIncarnation, 0, at.memory.incarnation().revision);
  txn.put = Txn::Put::kVm;
  txn.put_id = vm_;
  txn.vm = next;
  proposed_ = next;
  call_.Send(at.time, at.memory.highest());
  step->txn = txn;
}

void VmAgent::ProposeState(const Now& at, VmState state, Txn proof, AgentStep* step) {
  Ownership next = record_;
  next.state = state;
  if (state == VmState::kRunning) next.last = {};
  Propose(at, next, proof, step);
}

}  // namespace gemel::cluster
