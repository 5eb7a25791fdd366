// Machines of the cluster's: a change is etcd's first and ours then, what runs where is the cluster's to
// decide, and the records here are a copy that survives restarts.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "grpc/cluster_networks.h"
#include "grpc/cluster_policy.h"
#include "grpc/field_mask.h"
#include "grpc/resource_name.h"
#include "grpc/vm_manager.h"

namespace gemel::daemon {
namespace {

constexpr std::string_view kNoMajority = "NO_MAJORITY";

ApiError ToApi(const Error& error) {
  if (error.code == Code::kAlreadyExists)
    return MakeApiError(error.code, reason::kAlreadyExists, error.message);
  if (error.code == Code::kAborted)
    return MakeApiError(error.code, "CHANGED_MEANWHILE", error.message);
  return MakeApiError(error.code, kNoMajority, error.message);
}

// Operations are kept for a day.
constexpr std::int64_t kCallsMatterSeconds = 24 * 3600;

bool SaysWhetherItRuns(std::string_view verb) {
  return verb == "Create" || verb == "Start" || verb == "Stop" || verb == "Shutdown" ||
         verb == "Delete" || verb == "Pause" || verb == "Resume";
}

// What somebody asks for; all else of a record is this node's.
void CopyWanted(const v1::VirtualMachine& from, v1::VirtualMachine& to) {
  const v1::VirtualMachineStatus status = to.status();
  const std::uint64_t generation = from.status().observed_generation();
  to = from;
  *to.mutable_status() = status;
  to.mutable_status()->set_observed_generation(generation);
}

}  // namespace

// ---- what is checked ----------------------------------------------------------------------------

// Whether what concerns its process can be done by this node.
ApiResult<void> VmManager::CheckHere(const Vm& vm, std::string_view verb) const {
  const std::string& name = vm.stored.vm.name();
  if (IsHere(vm)) return {};
  if (vm.standing.owner.empty()) return std::unexpected(WrongState(name, name + " does not run"));
  return std::unexpected(
      WrongState(name, fmt::format("{} is on node {}, and can be {} there alone: ask nodes/{}",
                                   name, vm.standing.owner, verb, vm.standing.owner)));
}

ApiResult<void> VmManager::CheckCluster(const v1::VirtualMachine& vm,
                                        std::string_view prefix) const {
  if (!vm.spec().has_failover()) return {};
  if (cluster_ == nullptr)
    return std::unexpected(
        WrongState("failover", fmt::format("node {} is in no cluster: a machine with failover "
                                           "needs one (gemel cluster init)",
                                           options_.node)));
  if (auto valid = CheckFailover(vm.spec(), prefix); !valid) return valid;
  if (vm.spec().failover().on_heartbeat_loss() == v1::ON_HEARTBEAT_LOSS_RESTART)
    if (const Status known = cluster_->KnowsLevel(kHeartbeatLossLevel, "on_heartbeat_loss"); !known)
      return std::unexpected(FromError(known.error(), "UPGRADE_FIRST"));
  if (auto disks = CheckOpenDisks(vm, prefix); !disks) return disks;
  const std::string& preferred = vm.spec().failover().preferred_node();
  const bool known =
      preferred.starts_with("nodes/") && cluster_->KnowsNode(std::string(LastPart(preferred)));
  if (preferred.empty() || known) return {};
  return std::unexpected(
      InvalidField(fmt::format("{}.failover.preferred_node", prefix),
                   fmt::format("\"{}\" is no node of the cluster's (nodes/NAME)", preferred)));
}

// Disks that refuse nobody: such that other nodes have, too, and of one machine.
ApiResult<void> VmManager::CheckOpenDisks(const v1::VirtualMachine& vm,
                                          std::string_view prefix) const {
  if (!RefusesNobody(vm.spec())) return {};
  if (const Status known = cluster_->KnowsLevel(kOffProofsLevel, "disks that refuse nobody");
      !known)
    return std::unexpected(FromError(known.error(), "UPGRADE_FIRST"));
  for (int i = 0; i < vm.spec().disks_size(); ++i) {
    const v1::DiskAttachment& disk = vm.spec().disks(i);
    if (disk.has_iscsi() || disk.read_only()) continue;
    const auto found = disks_.find(disk.disk());
    if (found != disks_.end() && found->second.block_device().empty())
      return std::unexpected(InvalidField(
          fmt::format("{}.disks[{}].disk", prefix, i),
          fmt::format("\"{}\" is in a pool of this node's: a machine with failover writes to iSCSI "
                      "disks, or to block_devices that all nodes have",
                      disk.disk())));
    for (const std::string& user : UsersOf(disk.disk()))
      if (user != vm.name())
        return std::unexpected(WrongState(
            vm.name(),
            fmt::format("{}.disks[{}]: {} is a disk of {}", prefix, i, disk.disk(), user),
            reason::kInUse));
  }
  return {};
}

ApiResult<void> VmManager::MayChangeCluster() const {
  if (cluster_ == nullptr)
    return std::unexpected(WrongState("failover", fmt::format("node {} is in no cluster any more: "
                                                              "its machines cannot be changed",
                                                              options_.node)));
  if (const Status may = cluster_->MayChange(); !may) return std::unexpected(ToApi(may.error()));
  return {};
}

// ---- calls --------------------------------------------------------------------------------------

// Events were numbered before others came.
void VmManager::Renumber(Batch& batch) const {
  std::uint64_t sequence = last_sequence_;
  for (auto& [number, event] : batch.events) number = ++sequence;
  std::erase_if(batch.put_operations, [this](const v1::Operation& operation) {
    const auto found = operations_.find(operation.name());
    return found != operations_.end() && found->second.done();
  });
}

// As it is made durable with what it changes, for all nodes.
etcd::MachineCall VmManager::ToCluster(const CallInfo& call, const Batch& batch,
                                       const v1::Operation& operation) {
  v1::Operation begun = operation;
  if (!batch.put_operations.empty() && batch.put_operations.back().name() == operation.name())
    begun = batch.put_operations.back();
  begun.clear_response();  // the machine, which is beside it
  return {call.request_id.empty() ? "" : call.caller + " " + call.request_id, call.fingerprint,
          begun.SerializeAsString()};
}

// Calls that other nodes took are known here, too: who repeats one gets its operation, and whoever waits
// for that may ask any node.
void VmManager::TakeCalls(const ClusterSpec& spec, const Vm& vm, const StoredVm& next,
                          Batch& batch) const {
  std::optional<v1::Operation> newest;  // of those that say whether it runs
  for (const etcd::MachineCall& call : spec.calls) {
    v1::Operation operation;
    if (!operation.ParseFromString(call.operation) || operations_.contains(operation.name()) ||
        Now().seconds() - operation.metadata().create_time().seconds() > kCallsMatterSeconds)
      continue;
    const std::string& node = operation.metadata().node();
    if (!node.empty())
      // That node says how it ended, while it can be asked.
      EndOperation(batch, operation,
                   MakeApiError(Code::kAborted, reason::kEndedEarly,
                                fmt::format("{} cannot be asked: it may or may not have been "
                                            "carried out there",
                                            node)));
    else if (operation.done())
      EndOperation(batch, operation, next.vm);
    else
      batch.put_operations.push_back(operation);
    if (!call.key.empty() && !requests_.contains(call.key))
      batch.put_requests.push_back({call.key, call.fingerprint, operation.name()});
    if (SaysWhetherItRuns(operation.metadata().verb())) newest = std::move(operation);
  }
  if (newest) SupersedeTaken(batch, vm, *newest);
}

// As the node that took `by` did.
void VmManager::SupersedeTaken(Batch& batch, const Vm& vm, const v1::Operation& by) const {
  std::vector<v1::Operation> taken;
  std::erase_if(batch.put_operations, [&](v1::Operation& operation) {
    const bool before = !operation.done() && operation.name() != by.name();
    if (before) taken.push_back(std::move(operation));
    return before;
  });
  for (v1::Operation& operation : taken) EndOperation(batch, std::move(operation), Superseded(by));
  Supersede(batch, vm, by);
}

void VmManager::CreateInCluster(CallInfo call, StoredVm next, Reply reply) {
  const std::string name = next.vm.name();
  v1::Operation operation = NewOperation(call, LastPart(ProjectOf(name)), name, next.vm.uid());
  if (call.validate_only) {
    Batch batch;
    batch.put_vms.push_back(std::move(next));
    return Finish(call, std::move(batch), std::move(operation), reply);
  }
  if (auto may = MayChangeCluster(); !may) return reply(std::unexpected(std::move(may).error()));
  creating_.insert(name);
  ClusterSpec spec;
  spec.machine = next.vm;
  Batch begun;  // what is not to run has been made with this, for all nodes
  if (next.vm.desired_state() != v1::DESIRED_STATE_RUNNING) EndOperation(begun, operation, next.vm);
  spec.calls = {ToCluster(call, begun, operation)};
  cluster_->Create(spec, [this, alive = std::weak_ptr(alive_), call = std::move(call),
                          next = std::move(next), operation = std::move(operation),
                          reply = std::move(reply)](const Result<std::uint32_t>& number) mutable {
    if (alive.expired()) return;
    creating_.erase(next.vm.name());
    if (!number) return reply(std::unexpected(ToApi(number.error())));
    next.vm.mutable_status()->mutable_failover()->set_number(*number);
    Vm vm;
    vm.stored = next;
    FillStatus(vm, next);
    Batch batch;
    AddEvent(batch, v1::EVENT_TYPE_CREATED, next.vm, "REQUESTED", "", &operation);
    const bool run = next.vm.desired_state() == v1::DESIRED_STATE_RUNNING;
    if (!run) EndOperation(batch, operation, next.vm);
    batch.put_vms.push_back(std::move(next));
    Finish(call, std::move(batch), std::move(operation), reply);
    cluster_->Look();
  });
}

// `next` is what was checked. In etcd first: if that refuses, nothing has happened.
void VmManager::FinishInCluster(CallInfo call, StoredVm next, Batch batch, v1::Operation operation,
                                Reply reply) {
  Vm& vm = vms_.at(next.vm.name());
  if (call.validate_only) {
    batch.put_vms.push_back(std::move(next));
    return Finish(call, std::move(batch), std::move(operation), reply);
  }
  if (auto may = MayChangeCluster(); !may) return reply(std::unexpected(std::move(may).error()));
  if (std::exchange(vm.cluster_call, true))
    return reply(
        std::unexpected(ToApi({Code::kAborted, "another change of it is under way: try again"})));
  ClusterSpec spec;
  spec.vm = vm.stored.vm.status().failover().number();
  spec.machine = next.vm;
  spec.deleting = next.deleting;
  spec.at_once = next.vm.desired_state() == v1::DESIRED_STATE_STOPPED;
  spec.calls = {ToCluster(call, batch, operation)};
  cluster_->Change(
      spec, [this, alive = std::weak_ptr(alive_), uid = next.vm.uid(), call = std::move(call),
             next = std::move(next), batch = std::move(batch), operation = std::move(operation),
             reply = std::move(reply)](const Status& changed) mutable {
        if (alive.expired()) return;
        Vm* const still = FindUid(uid);
        if (still != nullptr) still->cluster_call = false;
        if (!changed) return reply(std::unexpected(ToApi(changed.error())));
        if (still == nullptr) return reply(std::unexpected(ResourceNotFound("vm", next.vm.name())));
        StoredVm merged = still->stored;
        CopyWanted(next.vm, merged.vm);
        merged.deleting = next.deleting;
        if (still->standing.here) merged.running_spec = next.running_spec;
        still->process = ClusterProcess(*still, merged.vm.desired_state());
        FillStatus(*still, merged);
        Renumber(batch);
        AddStateEvent(batch, *still, merged, &operation);
        batch.put_vms.push_back(std::move(merged));
        Finish(call, std::move(batch), std::move(operation), reply);
        if (Vm* const after = FindUid(uid)) ApplyLive(*after);
        cluster_->Look();
        Reconcile(next.vm.name());
      });
}

// ---- what the cluster says ----------------------------------------------------------------------

void VmManager::BeginCluster(const Adoption& adoption) {
  if (cluster_ == nullptr) return;
  std::vector<ClusterSeat::AdoptedMachine> machines;
  for (const AdoptedVm& found : adoption.vms) {
    Vm* const vm = FindUid(found.uid);
    if (vm == nullptr || !IsClusters(*vm)) continue;
    vm->held = found.state == AdoptedVm::State::kLive && found.info.state == VmState::kPaused;
    machines.push_back({vm->stored.vm.status().failover().number(), found});
  }
  cluster_->Begin(std::move(machines));
}

bool VmManager::TakeSpec(const ClusterSpec& spec) {
  const std::string& name = spec.machine.name();
  const std::string problem = "cluster/" + name;
  Vm* const known = FindUid(spec.machine.uid());
  if (creating_.contains(name) || (known != nullptr && known->cluster_call)) return false;
  if (known == nullptr && vms_.contains(name)) {
    published_->problems.Put(
        problem, fmt::format("{} is a machine of this node's, and one of the cluster's: it cannot "
                             "be taken over here before one of them is deleted",
                             name));
    return false;
  }
  published_->problems.Remove(problem);
  if (known != nullptr) known->process = ClusterProcess(*known, spec.machine.desired_state());
  Vm fresh;
  const Vm& vm = known != nullptr ? *known : fresh;
  StoredVm next = vm.stored;
  CopyWanted(spec.machine, next.vm);
  next.deleting = spec.deleting;
  next.vm.mutable_status()->mutable_failover()->set_number(spec.vm);
  FillStatus(vm, next);
  Batch batch;
  TakeCalls(spec, vm, next, batch);
  if (next.vm.SerializeAsString() == vm.stored.vm.SerializeAsString() &&
      next.deleting == vm.stored.deleting && batch.put_operations.empty())
    return true;
  const std::vector<std::string> paths = DifferingPaths(vm.stored.vm.spec(), next.vm.spec());
  if (known == nullptr) {
    AddEvent(batch, v1::EVENT_TYPE_CREATED, next.vm, "CLUSTER", "by another node");
  } else if (!paths.empty()) {
    AddEvent(batch, v1::EVENT_TYPE_CONFIGURATION_CHANGED, next.vm, "CLUSTER", "by another node");
    v1::ConfigurationChange& change = *batch.events.back().second.mutable_configuration_change();
    for (const std::string& path : paths) change.add_paths("spec." + path);
    change.set_etag(next.vm.etag());
  }
  if (known != nullptr) AddStateEvent(batch, vm, next, nullptr);
  batch.put_vms.push_back(std::move(next));
  if (!Commit(std::move(batch))) return false;
  Reconcile(name);
  return true;
}

bool VmManager::DropSpec(const VmUid& uid) {
  const Vm* const vm = FindUid(uid);
  if (vm == nullptr) return true;
  if (vm->cluster_call) return false;
  Batch batch;
  const v1::Operation* const operation = Pending(*vm, "Delete");
  AddEvent(batch, v1::EVENT_TYPE_DELETED, vm->stored.vm,
           operation != nullptr ? "REQUESTED" : "CLUSTER", "", operation);
  for (const std::string& name : vm->operations) {
    const v1::Operation& pending = operations_.at(name);
    if (pending.metadata().verb() == "Delete")
      EndOperation(batch, pending, vm->stored.vm);
    else
      EndOperation(batch, pending,
                   MakeApiError(Code::kAborted, reason::kEndedEarly, "it was deleted meanwhile"));
  }
  batch.delete_vms.push_back(vm->stored.vm.name());
  return Commit(std::move(batch)).has_value();
}

v1::VirtualMachine VmManager::StoppedSpec(const VmUid& uid) const {
  const auto name = names_.find(uid);
  if (name == names_.end()) return {};
  v1::VirtualMachine machine = vms_.at(name->second).stored.vm;
  machine.set_desired_state(v1::DESIRED_STATE_STOPPED);
  Touch(machine);
  return machine;
}

void VmManager::OnStanding(const VmUid& uid, const ClusterStanding& standing) {
  Vm* const vm = FindUid(uid);
  if (vm == nullptr) return;
  vm->standing = standing;
  vm->stood = true;
  vm->process = ClusterProcess(*vm, vm->stored.vm.desired_state());
  Reconcile(vm->stored.vm.name());
}

void VmManager::FillClusterStatus(const Vm& vm, StoredVm& next) const {
  v1::VirtualMachineStatus& status = *next.vm.mutable_status();
  const ClusterStanding& standing = vm.standing;
  if (vm.process == Process::kNone || vm.process == Process::kStarting) status.clear_start_time();
  status.set_pid(standing.here ? supervisor_->Pid(next.vm.uid()) : 0);
  status.set_node(standing.owner.empty() ? "" : "nodes/" + standing.owner);
  if (standing.epoch.counter != 0)
    status.mutable_failover()->set_epoch(
        fmt::format("{}.{}", standing.epoch.incarnation, standing.epoch.counter));
  status.set_reason(standing.reason);
  status.set_message(Printable(standing.message));
  status.clear_pending_changes();
  if (!standing.here) return;
  for (std::string& path : DifferingPaths(next.running_spec, next.vm.spec()))
    status.add_pending_changes(std::move(path));
}

std::map<std::string, std::uint64_t> VmManager::TakenEvents() const { return taken_decisions_; }

bool VmManager::TakeEvents(const std::vector<v1::Event>& events) {
  Batch batch;
  for (const v1::Event& event : events)
    batch.events.emplace_back(last_sequence_ + batch.events.size() + 1, event);
  if (!Commit(std::move(batch))) return false;
  for (const v1::Event& event : events)
    taken_decisions_[event.decision().node()] = event.decision().number();
  return true;
}

void VmManager::PrepareClusterStart(const VmUid& uid, Prepared done) {
  Vm* const vm = FindUid(uid);
  if (vm == nullptr) return done(std::unexpected(ResourceNotFound("vm", uid)));
  auto start = ReadyClusterStart(*vm);
  if (!start) return done(std::move(start));
  auto ports = PortsOf(vm->stored.vm, vm->stored.running_spec);
  if (ports.empty()) return done(std::move(start));
  OpenPorts(std::move(*start), std::move(ports), std::move(done));
}

// All but its ports.
ApiResult<VmStart> VmManager::ReadyClusterStart(Vm& vm) {
  if (std::string why = NetworkObstacle(vm.stored.vm.spec(), Networks()); !why.empty())
    return std::unexpected(
        MakeApiError(Code::kFailedPrecondition, kNoNetwork,
                     fmt::format("node {} cannot have it: {}", options_.node, why)));
  if (vm.stored.vm.desired_state() == v1::DESIRED_STATE_PAUSED)
    return std::unexpected(MakeApiError(Code::kFailedPrecondition, kPausedLost,
                                        "it is paused: it is not started before it is resumed"));
  auto start = PrepareStart(vm);
  if (!start) return start;
  StoredVm next = vm.stored;
  next.running_spec = next.vm.spec();
  Batch batch;
  batch.put_vms.push_back(std::move(next));
  if (const Status stored = Commit(std::move(batch)); !stored)
    return std::unexpected(FromError(stored.error(), reason::kStoreFailed));
  return start;
}

void VmManager::OnClusterBegun(const VmUid& uid) {
  if (Vm* const vm = FindUid(uid)) ApplyLinks(uid, vm->stored.running_spec, false);
}

void VmManager::OnClusterEnded(const VmUid& uid) {
  Vm* const vm = FindUid(uid);
  if (vm == nullptr) return;
  vm->held = false;
  ClosePorts(uid, vm->stored.running_spec);
  if (vm->stored.running_spec.ByteSizeLong() == 0) return;
  StoredVm next = vm->stored;
  next.running_spec.Clear();
  Batch batch;
  batch.put_vms.push_back(std::move(next));
  static_cast<void>(Commit(std::move(batch)));  // logged; the next start writes another
}

ApiResult<std::vector<DiskConfig>> VmManager::DisksOf(const VmUid& uid) const {
  const auto name = names_.find(uid);
  if (name == names_.end()) return std::unexpected(ResourceNotFound("vm", uid));
  const v1::VirtualMachine& vm = vms_.at(name->second).stored.vm;
  auto config = ToMachineConfig(vm.spec(), LastPart(vm.name()), uid, options_.paths, "spec");
  if (!config) return std::unexpected(std::move(config).error());
  return std::move(config->disks);
}

}  // namespace gemel::daemon
