// One machine on one node: takes it over, starts, pauses, resumes and gives it away, as its ownership
// record, the sessions and the storage allow. Part of gemeld; one thread; it owns nothing outside.
//
//   FREE, or an owner that is over ──compare-and-swap──▶ FENCING ── storage claimed, ──▶ STARTING
//        ▲                                              epoch + 1     evidence stored         │
//        └──── FREE ◀── process gone ── MOVING ◀── given away ── RUNNING ◀── process runs ────┘
//
// Whatever is unknown (an answer that did not come, a fence without evidence) starts nothing.
#pragma once
#include <optional>
#include <span>
#include <tuple>

#include "cluster/memory.h"
#include "cluster/records.h"
#include "cluster/session.h"
#include "cluster/storage_claim.h"
#include "cluster/timing.h"
#include "cluster/txn.h"

namespace gemel::cluster {

// The VM process of this machine on this node, as the supervisor knows it. There is at most one.
struct Process {
  enum class State : std::uint8_t {
    kNone,        // reaped, or never started
    kRunning,     // may issue, as far as is known
    kLatched,     // has proved that it issues nothing; its guest is paused
    kConflicted,  // latched because storage refused it
  };
  State state = State::kNone;
  SessionId session;
  Epoch epoch;
  auto fields() { return std::tie(state, session, epoch); }
};

enum class Want : std::uint8_t {
  kLeave,     // as it is: run what runs here, take nothing
  kRun,       // here, as soon as that is allowed
  kGiveAway,  // to want_node, or to nobody in particular if that is 0
};

struct AgentInput {
  SessionView session;
  std::span<const PeerSession> peers;
  Process process;
  Want want = Want::kLeave;
  NodeId want_node = 0;
  bool may_ask =
      true;  // false: others of this node wait for etcd already, and this one does not ask yet
  // Its disk refuses nobody: who may have issued last must be proved off, not only silent.
  bool prove_off = false;
};

struct AgentStep {
  enum class ForProcess : std::uint8_t {
    kNothing,
    kStart,   // boot it under {session, epoch}
    kResume,  // un-pause the latched one under {session, epoch}; its unanswered writes are sent anew
    kStop,    // as its guest wishes: power button, then off
    kKill,
  };
  std::optional<Txn> txn;
  bool would_ask = false;  // if it might
  StorageCommand storage;
  ForProcess process = ForProcess::kNothing;
  SessionId session;
  Epoch epoch;
};

class VmAgent {
 public:
  VmAgent() = default;
  VmAgent(NodeId node, std::uint32_t vm) : node_(node), vm_(vm) {}

  void OnView(const Ownership& record, Revision changed);
  // After each event and at least every heartbeat. What it returns is done at once and in full; a
  // storage command is outstanding until OnStorage() (kUnknown when its connection is given up).
  AgentStep Run(Time now, const AgentInput& input, const Memory& memory, const Rules& rules);
  void OnReply(Time now, RequestId id, const TxnReply& reply, Memory& memory, const Rules& rules);
  void OnStorage(const StorageAnswer& answer, const Rules& rules);
  // A higher incarnation: what was seen before is void.
  void Forget() {
    const RequestId last = call_.id;  // numbers go on: a late answer must not match a new call
    *this = VmAgent(node_, vm_);
    call_.id = last;
  }

  const Ownership& record() const { return record_; }
  Revision changed() const { return changed_; }
  // A key that is not below ours was on the storage: a person must look.
  bool refused() const { return claim_.phase() == StorageClaim::Phase::kRefused; }
  const Outstanding& call() const { return call_; }
  auto fields() {
    return std::tie(known_, confirmed_, record_, changed_, proposed_, call_, retry_at_, claim_,
                    claiming_, retake_);
  }

 private:
  struct Now {
    Time time;
    const AgentInput& input;
    const Memory& memory;
    const Rules& rules;
  };

  bool Mine(const Now& at) const;
  bool Resumable(const Process& process) const;
  bool MustKill(const Now& at) const;
  bool NeedsNewEpoch(const Process& process) const;
  // Whether `session` of `node`, of that incarnation, can issue no more; adds what proves it.
  bool IsOver(const Now& at, NodeId node, SessionId session, Epoch epoch, Txn* proof) const;
  bool IsOff(const Now& at) const;
  bool IsReserved(const Now& at, Txn* proof) const;
  bool MayTake(const Now& at, Txn* proof) const;
  void TakeOver(const Now& at, AgentStep* step);
  void Fence(const Now& at, AgentStep* step);
  void Start(const Now& at, AgentStep* step);
  void Retake(const Now& at, AgentStep* step);
  void Keep(const Now& at, AgentStep* step);
  void Leave(const Now& at, AgentStep* step);
  void GiveAway(const Now& at, AgentStep* step);
  void Propose(const Now& at, const Ownership& next, Txn txn, AgentStep* step);
  void ProposeState(const Now& at, VmState state, Txn proof, AgentStep* step);

  NodeId node_ = 0;
  std::uint32_t vm_ = 0;
  bool known_ = false;
  bool confirmed_ = false;  // record_ is our own commit of this life: no view need be believed
  Ownership record_;
  Revision changed_;
  Ownership proposed_;  // meaningful while call_ is waiting
  Outstanding call_;
  Time retry_at_ = kNever;
  StorageClaim claim_;
  bool claiming_ = false;  // a storage command is outstanding
  bool retake_ = false;    // storage refused this epoch: only a new one may go on
};

}  // namespace gemel::cluster
