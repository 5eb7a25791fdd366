#include "grpc/cluster_manager.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace gemel::daemon {
namespace {

using cluster::AgentStep;
using cluster::Memory;
using cluster::Process;
using cluster::Time;
using ForProcess = AgentStep::ForProcess;

// A process that has not shown its latch so long after its page ended has stopped for good.
constexpr Time kStuckAfter{10'000'000};
// Nothing is begun in the last of a session: a VM's process counts it as over 20 ms early (vmm/fence), and a
// new epoch for one that has just latched, asked for then, may be committed much later. The machine could
// not go on in its process after that.
constexpr Time kLast{50'000};
// Transactions of machines under way at once. Thousands, as after the loss of all nodes at once, would
// have no answer in time, be sent again, and keep heartbeats from being heard.
constexpr int kMostAsked = 32;
constexpr int kTurns = 3;  // of one machine; each can change what its process is

}  // namespace

ClusterManager::ClusterManager(cluster::NodeId node, Outside outside)
    : node_(node), rules_(outside.rules), outside_(std::move(outside)) {}

void ClusterManager::Add(ClusterVm vm, const Process& process) {
  Machine& machine = machines_[vm];
  machine.agent = cluster::VmAgent(node_, vm);
  machine.process = process;
  if (shown_) Show(machine, vm);
}

void ClusterManager::Want(ClusterVm vm, cluster::Want want, cluster::NodeId to) {
  Machine& machine = machines_.at(vm);
  machine.want = want;
  machine.want_node = to;
  RunOne(vm);
}

void ClusterManager::OnProcess(ClusterVm vm, const Process& process) {
  const auto found = machines_.find(vm);
  if (found == machines_.end()) return;  // the end of one that was removed
  Machine& machine = found->second;
  if (machine.process.state != process.state) machine.asked = ForProcess::kNothing;
  machine.process = process;
  RunOne(vm);
}

void ClusterManager::Run() {
  const keeper::View* const keeper = outside_.keeper->view();
  if (keeper == nullptr) return;
  if (!began_) Begin(*keeper);
  Challenge(outside_.now(), Session());
  const Moment moment = Now();
  CountAsked(moment.now);
  for (auto& [vm, machine] : machines_) {
    Act(moment, vm, machine);
    KillIfStuck(moment.now, vm, machine);
  }
  SayQuiet();
}

// Something is new for this machine alone: of thousands, the others are not looked at.
void ClusterManager::RunOne(ClusterVm vm) {
  if (!began_) return Run();
  const auto found = machines_.find(vm);
  if (outside_.keeper->view() == nullptr || found == machines_.end()) return;
  const Moment moment = Now();
  Act(moment, vm, found->second);
  KillIfStuck(moment.now, vm, found->second);
  SayQuiet();
}

void ClusterManager::RunThoseThatWait() {
  while (asked_ < kMostAsked && !would_.empty()) RunOne(would_.extract(would_.begin()).value());
}

// One that was given up does not count, even if its answer comes yet.
void ClusterManager::CountAsked(Time now) {
  asked_ = 0;
  for (const auto& [vm, machine] : machines_) {
    const cluster::Outstanding& call = machine.agent.call();
    if (call.waiting && now - call.sent_at < rules_.timing.call_deadline) ++asked_;
  }
}

ClusterManager::Moment ClusterManager::Now() const { return {outside_.now(), Session(), Peers()}; }

void ClusterManager::Begin(const keeper::View& keeper) {
  began_ = true;
  memory_ = Memory(keeper.incarnation, keeper.highest, keeper.alarmed);
  outside_.store->Watch(
      [this](const etcd::View& view, const etcd::ViewChange& change) { OnView(view, change); });
}

// ---- what the store shows -----------------------------------------------------------------------

void ClusterManager::OnView(const etcd::View& view, const etcd::ViewChange& change) {
  all_unshown_ = all_unshown_ || change.whole;
  for (const cluster::Key& key : change.keys)
    if (key.kind == cluster::KeyKind::kVm) unshown_.insert(key.id);
  const etcd::Entry<std::uint64_t>& incarnation = view.incarnation();
  if (incarnation.value == 0 && memory_.incarnation().number == 0) return;
  const Memory::Verdict verdict =
      memory_.OnView(incarnation.value, incarnation.changed, view.store(), outside_.now());
  if (verdict == Memory::Verdict::kNew) Forget();
  const std::set<ClusterVm> news = unshown_;
  const bool few = verdict == Memory::Verdict::kCurrent && !all_unshown_ && change.only_work();
  if (verdict == Memory::Verdict::kNew || verdict == Memory::Verdict::kCurrent) Believe(view);
  if (!few) return Run();
  Challenge(outside_.now(), Session());
  for (const ClusterVm vm : news) RunOne(vm);
}

void ClusterManager::Believe(const etcd::View& view) {
  const Time now = outside_.now();
  for (const auto& [node, entry] : view.nodes()) {
    if (node == node_ || !entry.session.unreadable.empty()) continue;
    cluster::Challenger& challenger =
        challengers_.try_emplace(node, cluster::Challenger(node)).first->second;
    challenger.OnView(now, entry.session.value, entry.session.changed, entry.beat.changed);
  }
  if (std::exchange(all_unshown_, false)) {
    records_ = view.vms();
    for (auto& [vm, machine] : machines_) Show(machine, vm);
  }
  for (const ClusterVm vm : std::exchange(unshown_, {})) {
    const auto found = view.vms().find(vm);
    records_[vm] = found == view.vms().end() ? etcd::Entry<cluster::Ownership>{} : found->second;
    if (const auto machine = machines_.find(vm); machine != machines_.end())
      Show(machine->second, vm);
  }
  shown_ = true;
}

// A machine of which there is no record is nobody's yet.
void ClusterManager::Show(Machine& machine, ClusterVm vm) {
  const auto found = records_.find(vm);
  const etcd::Entry<cluster::Ownership> entry =
      found == records_.end() ? etcd::Entry<cluster::Ownership>{} : found->second;
  machine.unreadable = entry.unreadable;
  if (entry.unreadable.empty()) machine.agent.OnView(entry.value, entry.changed);
}

void ClusterManager::Forget() {
  for (auto& [node, challenger] : challengers_) challenger.Forget();
  for (auto& [vm, machine] : machines_) {
    machine.agent.Forget();
    ++machine.storage_call;
  }
  all_unshown_ = true;
}

// ---- what follows -------------------------------------------------------------------------------

// Our session as the keeper said, if its page still allows, and if both of us mean the same store.
cluster::SessionView ClusterManager::Session() const {
  const keeper::View* const keeper = outside_.keeper->view();
  if (keeper == nullptr) return {node_, {}, {}, false};
  cluster::SessionView session = keeper->session_view();
  const bool allowed = outside_.keeper->page().Allows(session.id, outside_.now() + kLast);
  const bool same = session.id.incarnation == memory_.incarnation().number;
  // The keeper was told that nothing will be started in it any more.
  const bool given_up = keeper->drained && !keeper->wants_quiet;
  session.live = session.live && allowed && same && !given_up && !keeper->alarmed;
  return session;
}

void ClusterManager::Challenge(Time now, const cluster::SessionView& session) {
  for (auto& [node, challenger] : challengers_) {
    const auto txn = challenger.Run(now, session, memory_, rules_);
    if (!txn) continue;
    LOG_UNLIMITED(kWarning, "cluster", "node {} is silent: its session {}.{} is being fenced", node,
                  challenger.record().id.incarnation, challenger.record().id.number);
    outside_.store->Commit(*txn, [this, alive = std::weak_ptr(alive_), peer = node,
                                  id = challenger.call().id](const cluster::TxnReply& reply) {
      if (alive.expired()) return;
      challengers_.at(peer).OnReply(outside_.now(), id, reply, memory_, rules_);
      Run();
    });
  }
}

std::vector<cluster::PeerSession> ClusterManager::Peers() const {
  std::vector<cluster::PeerSession> peers;
  for (const auto& [node, challenger] : challengers_)
    if (challenger.known()) peers.push_back({node, challenger.record(), challenger.session()});
  return peers;
}

Result<ClusterManager::OffProposal> ClusterManager::ProposeOff(cluster::NodeId node,
                                                               cluster::OffBy by) {
  const auto found = challengers_.find(node);
  if (found == challengers_.end() || found->second.session().value == 0)
    return MakeError(Code::kNotFound, "it never had a session, so it never had a machine");
  cluster::Challenger& challenger = found->second;
  const cluster::SessionRecord& record = challenger.record();
  if (record.off != cluster::OffBy::kNobody)
    return MakeError(Code::kAlreadyExists, "that is known");
  const auto txn = challenger.SayOff(outside_.now(), by, Session(), memory_);
  if (txn) return OffProposal{*txn, challenger.call().id};
  if (!Session().live || memory_.alarmed() || challenger.call().waiting)
    return MakeError(Code::kUnavailable, "this node has no session at the moment: try again");
  return FailedPrecondition(
      "its session {}.{} {}", record.id.incarnation, record.id.number,
      record.state == cluster::SessionState::kOpen ? "lives" : "was ended by itself");
}

void ClusterManager::OnSaidOff(cluster::NodeId node, cluster::RequestId call,
                               const cluster::TxnReply& reply) {
  challengers_.at(node).OnReply(outside_.now(), call, reply, memory_, rules_);
  Run();
}

void ClusterManager::Act(const Moment& moment, ClusterVm vm, Machine& machine) {
  if (!machine.unreadable.empty()) return;
  for (int turn = 0; turn < kTurns; ++turn) {
    const cluster::AgentInput input{moment.session,   moment.peers,      machine.process,
                                    machine.want,     machine.want_node, asked_ < kMostAsked,
                                    machine.prove_off};
    const AgentStep step = machine.agent.Run(moment.now, input, memory_, rules_);
    if (step.would_ask) would_.insert(vm);
    if (step.txn) Ask(vm, *step.txn, machine.agent.call().id);
    if (step.storage.op != cluster::StorageCommand::Op::kNone) {
      outside_.disks->Execute(
          vm, step.storage,
          [this, alive = std::weak_ptr(alive_), vm,
           call = ++machine.storage_call](const cluster::StorageAnswer& answer) {
            if (!alive.expired()) OnStorage(vm, call, answer);
          });
    }
    if (step.process == ForProcess::kNothing) return;
    ActOnProcess(vm, machine, step);
  }
}

void ClusterManager::Ask(ClusterVm vm, const cluster::Txn& txn, cluster::RequestId id) {
  ++asked_;
  outside_.store->Commit(
      txn, [this, alive = std::weak_ptr(alive_), vm, id](const cluster::TxnReply& reply) {
        if (alive.expired()) return;
        asked_ = std::max(asked_ - 1, 0);
        if (const auto found = machines_.find(vm); found != machines_.end())
          found->second.agent.OnReply(outside_.now(), id, reply, memory_, rules_);
        RunOne(vm);
        RunThoseThatWait();
      });
}

// An answer to a command that was given up meanwhile finds no one.
void ClusterManager::OnStorage(ClusterVm vm, std::uint64_t call,
                               const cluster::StorageAnswer& answer) {
  const auto found = machines_.find(vm);
  if (found == machines_.end() || call != found->second.storage_call) return;
  found->second.agent.OnStorage(answer, rules_);
  RunOne(vm);
}

void ClusterManager::ActOnProcess(ClusterVm vm, Machine& machine, const AgentStep& step) {
  if (step.process == ForProcess::kStart || step.process == ForProcess::kResume) {
    Result<UniqueFd> page = outside_.keeper->OpenPage();
    if (!page) {
      LOG(kError, "cluster", "machine {}: {}", vm, page.error().message);
      return;
    }
    LOG_UNLIMITED(kInfo, "cluster", "machine {} {} here in epoch {}.{}", vm,
                  step.process == ForProcess::kStart ? "starts" : "goes on", step.epoch.incarnation,
                  step.epoch.counter);
    machine.asked = ForProcess::kNothing;
    machine.process = {Process::State::kRunning, step.session, step.epoch};
    ClusterMachines::Grant grant{std::move(*page), step.session, step.epoch};
    if (step.process == ForProcess::kStart) {
      outside_.machines->Start(vm, std::move(grant));
    } else {
      outside_.machines->Resume(vm, std::move(grant));
    }
    return;
  }
  if (machine.asked == step.process) return;
  machine.asked = step.process;
  if (step.process == ForProcess::kKill) {
    LOG_UNLIMITED(kWarning, "cluster", "machine {} is ended here: it is no longer this node's", vm);
    outside_.machines->Kill(vm);
  } else {
    outside_.machines->Stop(vm);
  }
}

void ClusterManager::KillIfStuck(Time now, ClusterVm vm, Machine& machine) {
  const Process& process = machine.process;
  const bool over = process.state == Process::State::kRunning &&
                    !outside_.keeper->page().Allows(process.session, now);
  if (!over) {
    machine.over_since = cluster::kNever;
  } else if (machine.over_since == cluster::kNever) {
    machine.over_since = now;
  } else if (now - machine.over_since >= kStuckAfter && machine.asked != ForProcess::kKill) {
    LOG_UNLIMITED(kError, "cluster", "machine {} does not say that it has stopped: it is killed",
                  vm);
    machine.asked = ForProcess::kKill;
    outside_.machines->Kill(vm);
  }
}

// ---- what the keeper must know ------------------------------------------------------------------

void ClusterManager::SayQuiet() {
  const keeper::View* const keeper = outside_.keeper->view();
  const bool lives = keeper->opened.value != 0;
  if (!keeper->wants_quiet || (lives && !keeper->drained) || !IsQuiet(lives)) return;
  outside_.keeper->Say(keeper::Quiet{keeper->last});
}

// Of a session that lives, only once nothing is left that this node would have to do in it.
bool ClusterManager::IsQuiet(bool lives) const {
  for (const auto& [vm, machine] : machines_) {
    if (machine.process.state == Process::State::kRunning) return false;
    const bool mine = machine.agent.record().owner == node_;
    if (lives && (mine || machine.process.state != Process::State::kNone)) return false;
  }
  return true;
}

// ---- for people ---------------------------------------------------------------------------------

std::vector<ClusterManager::MachineStatus> ClusterManager::machines() const {
  const std::vector<cluster::PeerSession> peers = Peers();
  std::vector<MachineStatus> all;
  all.reserve(machines_.size());
  for (const auto& [vm, machine] : machines_) {
    const cluster::Ownership& record = machine.agent.record();
    const cluster::NodeId waits_for =
        machine.prove_off
            ? cluster::MustBeProvedOff(node_, record, memory_.incarnation().number, peers)
            : 0;
    all.push_back({vm, record, machine.agent.changed(), machine.process, machine.want,
                   machine.agent.refused(), machine.unreadable, waits_for});
  }
  return all;
}

std::vector<ClusterManager::PeerStatus> ClusterManager::peers() const {
  std::vector<PeerStatus> all;
  all.reserve(challengers_.size());
  for (const auto& [node, challenger] : challengers_)
    all.push_back({node, challenger.record(), challenger.session()});
  return all;
}

}  // namespace gemel::daemon
