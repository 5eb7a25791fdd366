#include "grpc/cluster_member.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"
#include "grpc/cluster_policy.h"
#include "grpc/convert.h"

namespace gemel::daemon {
namespace {

constexpr std::int64_t kTickMs = 100;
constexpr int kTicksAWeave = 5;  // delays and windows pass without anything being said

// What etcd keeps of a machine: of its status, only what its etag is made of.
etcd::MachineSpec ToStored(const ClusterSpec& spec) {
  v1::VirtualMachine machine = spec.machine;
  machine.clear_status();
  machine.mutable_status()->set_observed_generation(spec.machine.status().observed_generation());
  return {machine.name(), machine.SerializeAsString(),
          spec.deleting,  spec.at_once,
          spec.reason,    spec.message,
          spec.calls};
}

Result<ClusterSpec> FromStored(ClusterVm vm, const etcd::MachineSpec& stored) {
  ClusterSpec spec{vm,          {}, stored.deleting, stored.at_once, stored.reason, stored.message,
                   stored.calls};
  if (!spec.machine.ParseFromString(stored.machine) || spec.machine.name() != stored.name ||
      spec.machine.uid().empty() || !spec.machine.spec().has_failover())
    return InvalidArgument("it is no machine of this version's");
  return spec;
}

// A client that repeats a call does so within seconds.
constexpr std::size_t kCallsKept = 8;

// What a spec with `calls` has after one more change.
std::vector<etcd::MachineCall> WithCalls(std::vector<etcd::MachineCall> calls,
                                         const std::vector<etcd::MachineCall>& more) {
  calls.insert(calls.end(), more.begin(), more.end());
  if (calls.size() > kCallsKept)
    calls.erase(calls.begin(), calls.end() - static_cast<std::ptrdiff_t>(kCallsKept));
  return calls;
}

// Their addresses are unique in their networks.
bool SameCards(const v1::VirtualMachineSpec& one, const v1::VirtualMachineSpec& other) {
  return std::equal(one.nics().begin(), one.nics().end(), other.nics().begin(), other.nics().end(),
                    [](const v1::NetworkInterface& a, const v1::NetworkInterface& b) {
                      return a.SerializeAsString() == b.SerializeAsString();
                    });
}

std::unexpected<Error> NotInCluster(ClusterVm vm) {
  return MakeError(Code::kNotFound,
                   fmt::format("number {} is not its in the cluster any more", vm));
}

template <class T>
Result<T> ToResult(ApiResult<T> result) {
  if (result) return std::move(*result);
  return MakeError(static_cast<Code>(result.error().code()), result.error().message());
}

}  // namespace

void ClusterMember::SeenStore::Commit(const cluster::Txn& txn, Done done) {
  member_->store_.Commit(txn, std::move(done));
}

void ClusterMember::SeenStore::Watch(OnView on_view) {
  member_->store_.Watch(
      [this, on_view = std::move(on_view)](const etcd::View& view, const etcd::ViewChange& change) {
        const bool beats = change.only_beats();
        if (!beats) member_->NoteGone();  // before anything follows from records
        on_view(view, change);
        member_->NoteBeats(view);
        if (!beats) member_->weave_.Soon();
      });
}

ClusterMember::ClusterMember(cluster::NodeId node, etcd::NodeInfo self, Outside outside)
    : node_(node),
      self_(std::move(self)),
      outside_(std::move(outside)),
      store_(outside_.loop, outside_.kv, outside_.clock, {}),
      specs_(outside_.kv),
      seen_store_(this),
      events_(node, self_.name, outside_.kv, outside_.records),
      fenced_({outside_.loop, outside_.supervisor,
               [this](ClusterVm vm, FencedMachines::Prepared done) {
                 if (machines_.at(vm).gone) return done(NotInCluster(vm));
                 outside_.records->PrepareClusterStart(
                     machines_.at(vm).uid, [done = std::move(done)](ApiResult<VmStart> start) {
                       done(ToResult(std::move(start)));
                     });
               },
               [this](ClusterVm vm, const cluster::Process& process) { OnProcess(vm, process); },
               [this](ClusterVm vm, const Error& error) {
                 if (const auto found = machines_.find(vm); found != machines_.end())
                   found->second.failure = error.message;
               },
               outside_.identity, [this](ClusterVm vm) { OnBegun(vm); },
               [this](ClusterVm vm) { return PatienceMs(vm); }}),
      manager_(node, {&seen_store_, outside_.keeper, &fenced_, outside_.disks, outside_.now}),
      wishes_(node),
      weave_(outside_.loop, outside_.now, [this] { Weave(); }) {
  store_.Listen({[specs = specs_.listener(), events = events_.listener()](const auto& snapshot) {
                   specs.on_snapshot(snapshot);
                   events.on_snapshot(snapshot);
                 },
                 [specs = specs_.listener(), events = events_.listener()](const auto& changes) {
                   specs.on_events(changes);
                   events.on_events(changes);
                 }});
}

void ClusterMember::Begin(std::vector<AdoptedMachine> adopted) {
  for (AdoptedMachine& one : adopted) {
    machines_[one.vm].uid = one.found.uid;
    fenced_.Add(one.vm, one.found.uid);
    const cluster::Process process = fenced_.Adopted(one.found);
    machines_[one.vm].begun = process.state != cluster::Process::State::kNone;
    manager_.Add(one.vm, process);
    manager_.ProveOff(one.vm, true);  // until its spec says that it need not
  }
  began_ = true;
  Tick();
}

void ClusterMember::Tick() {
  manager_.Run();
  if (ticks_++ % kTicksAWeave == 0) weave_.Soon();
  if (const keeper::View* const keeper = outside_.keeper->view(); keeper != nullptr)
    events_.Run(manager_.live(), keeper->session.incarnation);
  if (!timer_.Start(outside_.loop, kTickMs, [this] { Tick(); }))
    LOG(kError, "cluster", "timer: machines of the cluster are not looked after");
}

void ClusterMember::NoteBeats(const etcd::View& view) {
  for (const auto& [node, entry] : view.nodes()) {
    Beat& beat = beats_[node];
    if (beat.changed == entry.beat.changed) continue;
    beat.changed = entry.beat.changed;
    beat.at = outside_.now();
    beat.rate.OnBeat(entry.beat.value, beat.at);
  }
}

void ClusterMember::Look() {
  if (!began_) return;
  manager_.Run();
  weave_.Soon();
}

// ---- calls --------------------------------------------------------------------------------------

Status ClusterMember::MayChange() const {
  if (outside_.keeper->view() == nullptr)
    return MakeError(Code::kUnavailable, "gemel-keeper does not run on this node");
  if (manager_.alarmed())
    return MakeError(Code::kUnavailable, "etcd has gone back to an earlier state: see its restore");
  if (!specs_.known() || !store_.trouble().empty())
    return MakeError(Code::kUnavailable,
                     fmt::format("this node does not reach a majority of the cluster{}{}",
                                 store_.trouble().empty() ? "" : ": ", store_.trouble()));
  return {};
}

Status ClusterMember::KnowsLevel(std::uint32_t level, std::string_view what) const {
  if (!specs_.level() || *specs_.level() >= level) return {};
  return FailedPrecondition(
      "members of feature level {} do not know {}: upgrade Gemel on all of them first (level {})",
      *specs_.level(), what, level);
}

bool ClusterMember::KnowsNode(const std::string& name) const { return NumberOf(name) != 0; }

std::map<std::string, etcd::NodeNetwork> ClusterMember::NetworksOf(const std::string& name) const {
  std::map<std::string, etcd::NodeNetwork> found;
  for (const auto& [node, entry] : specs_.nodes())
    for (const etcd::NodeNetwork& network : entry.value.networks)
      if (node != node_ && network.name == name) found[NameOf(node)] = network;
  return found;
}

void ClusterMember::Create(const ClusterSpec& spec, Created done) {
  specs_.Create(ToStored(spec), std::move(done));
}

void ClusterMember::Change(const ClusterSpec& spec, Done done) {
  const auto found = machines_.find(spec.vm);
  if (found == machines_.end() || !found->second.taken || found->second.gone)
    return done(MakeError(Code::kUnavailable, "its record was not seen yet, or has gone"));
  Machine& machine = found->second;
  if (std::exchange(machine.changing, true))
    return done(MakeError(Code::kAborted, "another change of it is under way: try again"));
  ClusterSpec next = spec;
  next.calls = WithCalls(machine.spec.calls, spec.calls);
  const bool cards = !SameCards(machine.spec.machine.spec(), spec.machine.spec());
  specs_.Update(spec.vm, machine.revision, ToStored(next), cards,
                [this, alive = std::weak_ptr(alive_), vm = spec.vm,
                 done = std::move(done)](const Status& status) {
                  if (alive.expired()) return;
                  if (const auto still = machines_.find(vm); still != machines_.end())
                    still->second.changing = false;
                  done(status);
                });
}

void ClusterMember::StopItself(std::uint32_t vm, const std::string& reason,
                               const std::string& message) {
  const auto found = machines_.find(vm);
  if (found == machines_.end() || found->second.ended) return;
  found->second.ended = {reason, message};
  weave_.Soon();
}

// ---- processes ----------------------------------------------------------------------------------

ClusterMember::Machine* ClusterMember::Find(const VmUid& uid, ClusterVm* vm) {
  for (auto& [number, machine] : machines_) {
    if (machine.uid != uid) continue;
    *vm = number;
    return &machine;
  }
  return nullptr;
}

bool ClusterMember::OnVmEvent(const VmUid& uid, const VmEvent& event) {
  ClusterVm vm = 0;
  Machine* const machine = Find(uid, &vm);
  if (machine == nullptr) return false;
  if (const auto* ended = std::get_if<VmEnded>(&event)) OnEnd(*machine, vm, ended->exit);
  NoteHeartbeat(*machine, event);
  return fenced_.OnVmEvent(uid, event);
}

// Whether it is to run again is decided before the rules hear of its end.
void ClusterMember::OnEnd(Machine& machine, ClusterVm vm, const VmExit& exit) {
  const bool wanted = machine.wish.want == cluster::Want::kRun && !machine.ended;
  const bool asked = exit.cause == VmExitCause::kPoweredOff && !WasEndedForSilence(machine);
  if (!wanted || asked) return;
  // Nothing is left that could go on: nobody has it until it is resumed.
  if (IsPaused(machine.spec) && !IsWanted(exit.cause))
    return manager_.Want(vm, cluster::Want::kGiveAway);
  CountEnd(machine, exit);
  // Left to this node alone until etcd says that it shall not run.
  if (machine.ended) manager_.Want(vm, cluster::Want::kGiveAway, node_);
}

// It begins anew, and all are told why; or it has `ended`.
void ClusterMember::CountEnd(Machine& machine, const VmExit& exit) {
  const bool silent = WasEndedForSilence(machine);
  const std::string why =
      silent ? fmt::format("{}: it was ended", *machine.silence) : Printable(exit.reason);
  const v1::FailoverSpec& failover = machine.spec.machine.spec().failover();
  const cluster::VmPolicy policy = ToPolicy(failover, 0, 0);
  const cluster::Time now = outside_.now();
  std::erase_if(machine.ends, [&](cluster::Time at) { return now - at >= policy.window; });
  machine.ends.push_back(now);
  if (exit.cause != VmExitCause::kPoweredOff && IsWanted(exit.cause)) {
    machine.ended = {"GUEST_POWER_OFF", why};
  } else if (policy.stay_down) {
    machine.ended = {"STAYS_DOWN", why};
  } else if (machine.ends.size() > policy.most_restarts) {
    machine.ended = {"TOO_MANY_RESTARTS",
                     fmt::format("{} (restarts in {} s: {})", why, policy.window.us / 1'000'000,
                                 policy.most_restarts)};
  } else {
    TellOf(machine, v1::EVENT_TYPE_RESTARTED, machine.told ? machine.told->epoch : cluster::Epoch{},
           silent ? "HEARTBEAT_LOST" : ReasonWord(ToExitReason(exit.cause)),
           fmt::format("{} (restart {} of {} in {} s)", why, machine.ends.size(),
                       policy.most_restarts, policy.window.us / 1'000'000));
  }
}

void ClusterMember::OnBegun(ClusterVm vm) {
  const auto found = machines_.find(vm);
  if (found == machines_.end()) return;
  found->second.begun = true;
  found->second.failure.clear();
  outside_.records->OnClusterBegun(found->second.uid);
  Weave();
}

void ClusterMember::OnProcess(ClusterVm vm, const cluster::Process& process) {
  if (const auto found = machines_.find(vm);
      found != machines_.end() && process.state == cluster::Process::State::kNone) {
    found->second.begun = false;
    outside_.records->OnClusterEnded(found->second.uid);  // before another start
  }
  manager_.OnProcess(vm, process);
  Weave();
}

std::int64_t ClusterMember::PatienceMs(ClusterVm vm) const {
  const auto found = machines_.find(vm);
  if (found == machines_.end()) return 0;
  const ClusterSpec& spec = found->second.spec;
  const bool off = spec.machine.desired_state() == v1::DESIRED_STATE_STOPPED || spec.deleting;
  if ((off && spec.at_once) || found->second.ended) return 0;
  return FencedMachines::kStopMs;
}

Result<std::vector<DiskConfig>> ClusterMember::DisksOf(ClusterVm vm) const {
  const auto found = machines_.find(vm);
  if (found == machines_.end() || found->second.gone) return NotInCluster(vm);
  return ToResult(outside_.records->DisksOf(found->second.uid));
}

// ---- specs --------------------------------------------------------------------------------------

void ClusterMember::TakeSpecs() {
  for (const auto& [vm, entry] : specs_.specs()) {
    const auto found = machines_.find(vm);
    if (found != machines_.end() &&
        (found->second.gone || (found->second.taken && found->second.revision == entry.changed)))
      continue;  // what had its number ends here first; or it is known
    if (!entry.unreadable.empty()) {
      LOG(kError, "cluster", "machine {}: {}", vm, entry.unreadable);
    } else {
      static_cast<void>(TakeSpec(vm, entry));
    }
  }
}

bool ClusterMember::TakeSpec(ClusterVm vm, const etcd::Entry<etcd::MachineSpec>& entry) {
  Result<ClusterSpec> spec = FromStored(vm, entry.value);
  if (!spec) {
    LOG(kError, "cluster", "machine {}: {}", vm, spec.error().message);
    return false;
  }
  if (!outside_.records->TakeSpec(*spec)) return false;
  const bool added = machines_.contains(vm);
  Machine& machine = machines_[vm];
  machine.uid = spec->machine.uid();
  machine.spec = std::move(*spec);
  machine.revision = entry.changed;
  machine.taken = true;
  const bool off = machine.spec.machine.desired_state() == v1::DESIRED_STATE_STOPPED;
  if (off || machine.spec.deleting) machine.ended.reset();
  if (!added) {
    fenced_.Add(vm, machine.uid);
    manager_.Add(vm);
  }
  manager_.ProveOff(vm, RefusesNobody(machine.spec.machine.spec()));
  return true;
}

// A store that was restored may have given a number again that a machine here had: nothing that is recorded
// of that number is this one's any more.
bool ClusterMember::IsGone(ClusterVm vm, const Machine& machine) const {
  const auto found = specs_.specs().find(vm);
  if (found == specs_.specs().end()) return true;
  const etcd::Entry<etcd::MachineSpec>& entry = found->second;
  if (!entry.unreadable.empty() || (machine.taken && machine.revision == entry.changed))
    return false;
  const Result<ClusterSpec> spec = FromStored(vm, entry.value);
  return spec && spec->machine.uid() != machine.uid;
}

void ClusterMember::NoteGone() {
  // What a machine has taken over since is what it was looked at for.
  if (!began_ || !specs_.known() || noted_ == specs_.generation()) return;
  noted_ = specs_.generation();
  std::vector<ClusterVm> news;
  for (auto& [vm, machine] : machines_) {
    const bool gone = IsGone(vm, machine);
    if (gone && !machine.gone) news.push_back(vm);
    machine.gone = gone;
  }
  for (const ClusterVm vm : news) {
    machines_.at(vm).wish = {};
    manager_.Want(vm, cluster::Want::kLeave);
  }
}

// What is in the cluster no more was nobody's when it went, or its owner was shut out.
void ClusterMember::DropSpecs() {
  std::vector<ClusterVm> gone;
  for (const ClusterManager::MachineStatus& status : manager_.machines()) {
    const auto found = machines_.find(status.vm);
    if (found == machines_.end() || !found->second.gone) continue;
    Machine& machine = found->second;
    if (status.process.state != cluster::Process::State::kNone) {
      if (!std::exchange(machine.killed, true)) fenced_.Kill(status.vm);
    } else if (outside_.records->DropSpec(machine.uid)) {
      gone.push_back(status.vm);
    }
  }
  for (const ClusterVm vm : gone) {
    manager_.Remove(vm);
    fenced_.Remove(vm);
    machines_.erase(vm);
  }
}

void ClusterMember::StopThoseThatEnded() {
  for (auto& [vm, machine] : machines_) {
    if (!machine.ended || machine.changing || !machine.taken || machine.gone) continue;
    ClusterSpec spec = machine.spec;
    spec.machine = outside_.records->StoppedSpec(machine.uid);
    spec.at_once = true;
    spec.calls.clear();
    spec.reason = machine.ended->first;
    spec.message = machine.ended->second;
    Change(spec, [](const Status&) {});  // until a view shows it
  }
}

// Nobody has it, or whoever had it is shut out: it can go.
void ClusterMember::DeleteTheDeleted(const std::vector<ClusterManager::MachineStatus>& all) {
  for (const ClusterManager::MachineStatus& status : all) {
    const auto found = machines_.find(status.vm);
    if (found == machines_.end() || !found->second.spec.deleting) continue;
    Machine& machine = found->second;
    if (machine.gone || machine.changing || !status.unreadable.empty()) continue;
    if (status.waits_for != 0) continue;  // another machine may get its disk
    etcd::SpecStore::Deletion deletion{status.vm, machine.revision, status.changed, {}};
    if (status.record.state != cluster::VmState::kFree) {
      for (const ClusterManager::PeerStatus& peer : manager_.peers()) {
        if (peer.node == status.record.owner &&
            cluster::ProvesOver(peer.record, status.record.session))
          deletion.session = {peer.node, peer.changed};
      }
      if (!deletion.session) continue;
    }
    machine.changing = true;
    specs_.Delete(deletion, [this, alive = std::weak_ptr(alive_), vm = status.vm](const Status&) {
      if (alive.expired()) return;
      if (const auto still = machines_.find(vm); still != machines_.end())
        still->second.changing = false;
    });
  }
}

void ClusterMember::SayWhoIAm() {
  if (telling_) return;
  const auto found = specs_.nodes().find(node_);
  const bool known = found != specs_.nodes().end() && found->second.unreadable.empty();
  etcd::NodeInfo wanted = self_;
  if (outside_.ordinary_memory)
    wanted.memory -= std::min(wanted.memory, outside_.ordinary_memory());
  wanted.networks = outside_.records->Networks();
  if (known) wanted.drained = found->second.value.drained;
  if (known && wanted == found->second.value) return;
  telling_ = true;
  const cluster::Revision changed =
      found == specs_.nodes().end() ? cluster::Revision{} : found->second.changed;
  specs_.PutNode(node_, changed, wanted, [this, alive = std::weak_ptr(alive_)](const Status&) {
    if (!alive.expired()) telling_ = false;
  });
}

void ClusterMember::TellPeers() {
  if (outside_.peers == nullptr) return;
  std::map<std::string, ClusterPeer> peers;
  for (const auto& [node, entry] : specs_.nodes())
    if (node != node_ && entry.unreadable.empty())
      peers[entry.value.name] = {entry.value.peer_address};
  if (peers == told_peers_) return;
  for (const auto& [name, peer] : told_peers_)
    if (!peers.contains(name)) outside_.peers->Remove(name);
  for (const auto& [name, peer] : peers) outside_.peers->Put(name, peer);
  told_peers_ = std::move(peers);
}

}  // namespace gemel::daemon
