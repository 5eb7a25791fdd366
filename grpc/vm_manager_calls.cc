// What each call asks for, when it is refused, and what it makes durable.
#include <google/protobuf/empty.pb.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <array>

#include "grpc/field_mask.h"
#include "grpc/labels.h"
#include "grpc/resource_name.h"
#include "grpc/uuid.h"
#include "grpc/vm_manager.h"

namespace gemel::daemon {
namespace {

constexpr std::string_view kVms = "vms";
constexpr std::string_view kPrefix = "virtual_machine";
constexpr std::string_view kSpecPrefix = "virtual_machine.spec";
constexpr std::int64_t kMaxTimeoutSeconds = 24 * 3600;
constexpr std::size_t kMaxSpecBytes = 60 * 1024;

// Fields of spec that a running machine takes over at once.
constexpr std::array<std::string_view, 8> kLivePaths = {
    "cpu.weight",         "cpu.limit_millis", "cpu.pinned_cpus",  "cpu.reservation_millis",
    "memory.limit_bytes", "restart_policy",   "shutdown_timeout", "balloon.size_bytes",
};

ApiResult<void> CheckTimeout(std::string_view field, const google::protobuf::Duration& timeout) {
  if (timeout.seconds() < 0 || timeout.seconds() > kMaxTimeoutSeconds || timeout.nanos() < 0 ||
      timeout.nanos() > 999'999'999)
    return std::unexpected(InvalidField(field, fmt::format("{} s {} ns is not from 0 to one day",
                                                           timeout.seconds(), timeout.nanos())));
  return {};
}

bool WantsToRun(const StoredVm& vm) {
  return vm.vm.desired_state() != v1::DESIRED_STATE_STOPPED && !vm.deleting;
}

// What quotas count of a machine that runs, or is to.
void AddRunning(const v1::VirtualMachineSpec& spec, access::Usage& usage) {
  ++usage.running_vms;
  usage.cpus += spec.cpu().count();
  usage.memory_bytes += spec.memory().size_bytes();
}

// What a change of its spec adds to a running machine.
access::Usage MoreOf(const v1::VirtualMachineSpec& now, const v1::VirtualMachineSpec& before) {
  const auto more_than = [](std::uint64_t left, std::uint64_t right) {
    return left > right ? left - right : 0;
  };
  access::Usage more;
  more.cpus = more_than(now.cpu().count(), before.cpu().count());
  more.memory_bytes = more_than(now.memory().size_bytes(), before.memory().size_bytes());
  return more;
}

// The cables of its cards. A card that is otherwise another waits for the next start with its cable.
void CopyLinks(const v1::VirtualMachineSpec& spec, v1::VirtualMachineSpec& running) {
  for (int i = 0; i < std::min(spec.nics_size(), running.nics_size()); ++i) {
    v1::NetworkInterface card = running.nics(i);
    card.set_link_down(spec.nics(i).link_down());
    if (card.SerializeAsString() == spec.nics(i).SerializeAsString())
      *running.mutable_nics(i) = card;
  }
}

// Takes over what a running machine can.
std::vector<std::string> CopyLive(const v1::VirtualMachineSpec& spec,
                                  v1::VirtualMachineSpec& running) {
  std::vector<std::string> copied;
  for (std::string& path : DifferingPaths(running, spec)) {
    if (std::find(kLivePaths.begin(), kLivePaths.end(), path) == kLivePaths.end()) continue;
    google::protobuf::FieldMask mask;
    mask.add_paths(path);
    static_cast<void>(ApplyMask(mask, {path}, spec, running));
    copied.push_back(std::move(path));
  }
  CopyLinks(spec, running);
  return copied;
}

}  // namespace

// ---- what calls have in common

std::optional<ApiResult<v1::Operation>> VmManager::Seen(const CallInfo& call) const {
  if (call.request_id.empty() || call.validate_only) return std::nullopt;
  const auto found = requests_.find(call.caller + " " + call.request_id);
  if (found == requests_.end()) return std::nullopt;
  if (found->second.fingerprint != call.fingerprint) {
    return std::unexpected(
        InvalidField("request_id",
                     fmt::format("\"{}\" was used for another request ({}); take a new one",
                                 call.request_id, found->second.operation),
                     reason::kRequestIdReused));
  }
  return operations_.at(found->second.operation);
}

ApiResult<VmManager::Vm*> VmManager::FindForCall(const std::string& name, const std::string& etag) {
  if (auto parsed = ParseResourceName("name", kVms, name); !parsed)
    return std::unexpected(std::move(parsed).error());
  const auto found = vms_.find(name);
  if (found == vms_.end()) return std::unexpected(ResourceNotFound("vm", name));
  Vm& vm = found->second;
  if (!etag.empty() && etag != vm.stored.vm.etag())
    return std::unexpected(
        MakeApiError(Code::kAborted, reason::kEtagMismatch,
                     fmt::format("etag \"{}\" is not {}'s, which is \"{}\": read it again", etag,
                                 name, vm.stored.vm.etag()),
                     {{"etag", vm.stored.vm.etag()}}));
  if (vm.stored.deleting)
    return std::unexpected(WrongState(name, fmt::format("{} is being deleted", name)));
  return &vm;
}

v1::Operation VmManager::NewOperation(const CallInfo& call, std::string_view project,
                                      const std::string& target, const std::string& uid) const {
  v1::Operation operation;
  // In order of time, as far as names have one.
  operation.set_name(MakeResourceName(
      project, "operations",
      fmt::format("op-{:011x}{}", clock_->RealtimeNow() / 1'000'000, RandomHex(6))));
  v1::OperationMetadata& metadata = *operation.mutable_metadata();
  metadata.set_target(target);
  metadata.set_target_uid(uid);
  metadata.set_verb(call.method);
  metadata.set_request_id(call.request_id);
  metadata.set_caller(call.caller);
  *metadata.mutable_create_time() = Now();
  return operation;
}

void VmManager::Finish(const CallInfo& call, Batch batch, v1::Operation operation,
                       const Reply& reply) {
  if (call.validate_only) {
    if (!batch.put_vms.empty()) operation.mutable_response()->PackFrom(batch.put_vms[0].vm);
    operation.clear_name();
    operation.set_done(true);
    return reply(operation);
  }
  if (batch.put_operations.empty() || batch.put_operations.back().name() != operation.name())
    batch.put_operations.push_back(operation);
  if (!call.request_id.empty())
    batch.put_requests.push_back(
        {call.caller + " " + call.request_id, call.fingerprint, operation.name()});
  const v1::Operation answer = batch.put_operations.back();
  if (const Status stored = Commit(std::move(batch)); !stored) {
    return reply(std::unexpected(
        MakeApiError(stored.error().code == Code::kResourceExhausted ? Code::kResourceExhausted
                                                                     : Code::kUnavailable,
                     reason::kStoreFailed, "nothing was changed: " + stored.error().message)));
  }
  reply(answer);
}

template <class Request>
void VmManager::Act(const CallInfo& call, const Request& request, const Reply& reply,
                    const Change& change) {
  if (auto seen = Seen(call)) return reply(std::move(*seen));
  auto vm = FindForCall(request.name(), request.etag());
  if (!vm) return reply(std::unexpected(std::move(vm).error()));
  StoredVm next = (*vm)->stored;
  Batch batch;
  v1::Operation operation =
      NewOperation(call, LastPart(ProjectOf(request.name())), request.name(), next.vm.uid());
  if (auto changed = change(**vm, next, operation, batch); !changed)
    return reply(std::unexpected(std::move(changed).error()));
  if (IsClusters(**vm))
    return FinishInCluster(call, std::move(next), std::move(batch), std::move(operation), reply);
  FillStatus(**vm, next);
  AddStateEvent(batch, **vm, next, &operation);
  batch.put_vms.push_back(std::move(next));
  Finish(call, std::move(batch), std::move(operation), reply);
  if (!call.validate_only) Reconcile(request.name());
}

ApiResult<void> VmManager::Check(const v1::VirtualMachine& vm, std::string_view prefix) const {
  if (auto labels = CheckLabels(vm.labels(), vm.description(), prefix); !labels) return labels;
  const std::string spec = fmt::format("{}.spec", prefix);
  // Larger ones would not fit the message that its process gets.
  if (vm.spec().ByteSizeLong() > kMaxSpecBytes)
    return std::unexpected(InvalidField(
        spec, fmt::format("{} bytes are more than {}", vm.spec().ByteSizeLong(), kMaxSpecBytes)));
  if (auto timeout = CheckTimeout(spec + ".shutdown_timeout", vm.spec().shutdown_timeout());
      !timeout)
    return timeout;
  if (auto own = CheckDisks(vm, spec); !own) return own;
  if (auto cluster = CheckCluster(vm, spec); !cluster) return cluster;
  auto config = ToMachineConfig(vm.spec(), LastPart(vm.name()), vm.uid(), options_.paths, spec);
  if (!config) return std::unexpected(std::move(config).error());
  auto limits = ToLimits(vm.spec(), spec);
  if (!limits) return std::unexpected(std::move(limits).error());
  return {};
}

ApiResult<void> VmManager::CheckQuota(const std::string& project, const access::Usage& more) const {
  if (options_.quotas == nullptr) return {};
  access::Usage used;
  for (const auto& [name, other] : vms_) {
    if (ProjectOf(name) != project) continue;
    ++used.vms;
    if (WantsToRun(other.stored)) AddRunning(other.stored.vm.spec(), used);
  }
  for (const auto& [name, disk] : disks_)
    if (ProjectOf(name) == project) used.disk_bytes += disk.size_bytes();
  for (const auto& [name, network] : networks_)
    if (ProjectOf(name) == project) ++used.networks;
  if (const Status enough = options_.quotas->CheckQuota(project, used, more); !enough)
    return std::unexpected(FromError(enough.error(), "QUOTA_EXCEEDED"));
  return {};
}

ApiResult<void> VmManager::ChangeDesired(Vm& vm, StoredVm& next, v1::DesiredState desired,
                                         const v1::Operation& operation, Batch& batch) {
  Supersede(batch, vm, operation);
  next.vm.set_desired_state(desired);
  next.vm.mutable_status()->clear_reason();
  next.vm.mutable_status()->clear_message();
  Touch(next.vm);
  return {};
}

// ---- the calls

void VmManager::Create(CallInfo call, v1::CreateVirtualMachineRequest request, Reply reply) {
  const auto refuse = [&](ApiError error) { reply(std::unexpected(std::move(error))); };
  if (auto seen = Seen(call)) return reply(std::move(*seen));
  auto project = ParseParent("parent", request.parent(), Wildcard::kRefused);
  if (!project) return refuse(std::move(project).error());
  if (!IsResourceId(request.vm_id()))
    return refuse(InvalidField(
        "vm_id", fmt::format("\"{}\" is not 1 to 63 of a-z, 0-9 and '-', beginning with a letter",
                             request.vm_id())));
  const std::string name = MakeResourceName(*project, kVms, request.vm_id());
  if (vms_.contains(name) || creating_.contains(name))
    return refuse(ResourceExists("vm", name, ""));
  if (request.virtual_machine().desired_state() == v1::DESIRED_STATE_PAUSED)
    return refuse(
        InvalidField("virtual_machine.desired_state", "PAUSED is for a machine that runs"));
  StoredVm next;
  next.vm.set_name(name);
  next.vm.set_uid(NewUuid());
  *next.vm.mutable_labels() = request.virtual_machine().labels();
  next.vm.set_description(request.virtual_machine().description());
  *next.vm.mutable_spec() = request.virtual_machine().spec();
  FillDefaults(*next.vm.mutable_spec());
  const bool run = request.virtual_machine().desired_state() == v1::DESIRED_STATE_RUNNING;
  next.vm.set_desired_state(run ? v1::DESIRED_STATE_RUNNING : v1::DESIRED_STATE_STOPPED);
  *next.vm.mutable_create_time() = Now();
  Touch(next.vm);
  if (auto nics = SettleNics(next.vm, nullptr, kSpecPrefix); !nics)
    return refuse(std::move(nics).error());
  if (auto valid = Check(next.vm, kPrefix); !valid) return refuse(std::move(valid).error());
  access::Usage more;
  more.vms = 1;
  if (run) AddRunning(next.vm.spec(), more);
  if (auto quota = CheckQuota(ProjectOf(name), more); !quota)
    return refuse(std::move(quota).error());
  if (next.vm.spec().has_failover())
    return CreateInCluster(std::move(call), std::move(next), std::move(reply));
  Vm vm;
  vm.stored = next;
  if (run) {
    if (auto room = CheckCapacity(vm); !room) return refuse(std::move(room).error());
    next.running_spec = next.vm.spec();
  }
  FillStatus(vm, next);
  Batch batch;
  v1::Operation operation = NewOperation(call, *project, name, next.vm.uid());
  AddEvent(batch, v1::EVENT_TYPE_CREATED, next.vm, "REQUESTED", "", &operation);
  operation.mutable_metadata()->set_cancellable(run);
  if (!run && !call.validate_only) EndOperation(batch, operation, next.vm);
  batch.put_vms.push_back(std::move(next));
  Finish(call, std::move(batch), std::move(operation), reply);
  if (!call.validate_only) Reconcile(name);
}

void VmManager::Update(CallInfo call, v1::UpdateVirtualMachineRequest request, Reply reply) {
  const auto refuse = [&](ApiError error) { reply(std::unexpected(std::move(error))); };
  if (auto seen = Seen(call)) return reply(std::move(*seen));
  const std::string& name = request.virtual_machine().name();
  if (auto parsed = ParseResourceName("virtual_machine.name", kVms, name); !parsed)
    return refuse(std::move(parsed).error());
  auto found = FindForCall(name, request.virtual_machine().etag());
  if (!found) return refuse(std::move(found).error());
  Vm& vm = **found;
  StoredVm next = vm.stored;
  if (auto applied = ApplyMask(request.update_mask(), {"labels", "description", "spec"},
                               request.virtual_machine(), next.vm);
      !applied)
    return refuse(std::move(applied).error());
  FillDefaults(*next.vm.mutable_spec());
  if (next.vm.spec().machine_type() != vm.stored.vm.spec().machine_type())
    return refuse(
        InvalidField("virtual_machine.spec.machine_type",
                     fmt::format("\"{}\" cannot become \"{}\": guests rely on it",
                                 vm.stored.vm.spec().machine_type(), next.vm.spec().machine_type()),
                     reason::kImmutableField));
  if (next.vm.spec().has_failover() != IsClusters(vm))
    return refuse(InvalidField("virtual_machine.spec.failover",
                               "a machine is one node's or the cluster's from its creation on: "
                               "create another with the same "
                               "disks, and delete this one",
                               reason::kImmutableField));
  if (auto nics = SettleNics(next.vm, &vm.stored.vm.spec(), kSpecPrefix); !nics)
    return refuse(std::move(nics).error());
  if (auto valid = Check(next.vm, kPrefix); !valid) return refuse(std::move(valid).error());
  if (WantsToRun(vm.stored)) {
    const access::Usage more = MoreOf(next.vm.spec(), vm.stored.vm.spec());
    if (auto quota = CheckQuota(ProjectOf(name), more); !quota)
      return refuse(std::move(quota).error());
  }
  const std::vector<std::string> paths = DifferingPaths(vm.stored.vm, next.vm);
  Batch batch;
  v1::Operation operation = NewOperation(call, LastPart(ProjectOf(name)), name, next.vm.uid());
  if (!paths.empty()) {
    Touch(next.vm);
    if (vm.process != Process::kNone && IsHere(vm)) CopyLive(next.vm.spec(), next.running_spec);
    FillStatus(vm, next);
    AddEvent(batch, v1::EVENT_TYPE_CONFIGURATION_CHANGED, next.vm, "REQUESTED", "", &operation);
    v1::ConfigurationChange& change = *batch.events.back().second.mutable_configuration_change();
    *change.mutable_paths() = {paths.begin(), paths.end()};
    *change.mutable_pending_paths() = next.vm.status().pending_changes();
    change.set_etag(next.vm.etag());
  }
  if (!call.validate_only) EndOperation(batch, operation, next.vm);
  if (IsClusters(vm) && !paths.empty())
    return FinishInCluster(std::move(call), std::move(next), std::move(batch), std::move(operation),
                           std::move(reply));
  batch.put_vms.push_back(std::move(next));
  Finish(call, std::move(batch), std::move(operation), reply);
  if (!call.validate_only && vm.process != Process::kNone) ApplyLive(vm);
}

void VmManager::Delete(CallInfo call, v1::DeleteVirtualMachineRequest request, Reply reply) {
  if (auto seen = Seen(call)) return reply(std::move(*seen));
  auto found = FindForCall(request.name(), request.etag());
  if (!found) {
    if (found.error().code() != static_cast<int>(Code::kNotFound) || !request.allow_missing())
      return reply(std::unexpected(std::move(found).error()));
    Batch batch;
    v1::Operation operation =
        NewOperation(call, LastPart(ProjectOf(request.name())), request.name(), "");
    if (!call.validate_only) EndOperation(batch, operation, v1::VirtualMachine());
    return Finish(call, std::move(batch), std::move(operation), reply);
  }
  Vm& vm = **found;
  const std::string name = request.name();
  if (vm.process != Process::kNone && !request.force())
    return reply(std::unexpected(
        WrongState(name, fmt::format("{} runs: stop it first, or delete it with force", name))));
  Batch batch;
  v1::Operation operation = NewOperation(call, LastPart(ProjectOf(name)), name, vm.stored.vm.uid());
  StoredVm next = vm.stored;
  Supersede(batch, vm, operation);
  next.deleting = true;
  next.vm.set_desired_state(v1::DESIRED_STATE_STOPPED);
  if (IsClusters(vm)) {
    Touch(next.vm);
    return FinishInCluster(std::move(call), std::move(next), std::move(batch), std::move(operation),
                           std::move(reply));
  }
  FillStatus(vm, next);
  AddStateEvent(batch, vm, next, &operation);
  // With a process still there, or its end not stored, the machine goes with Reconcile.
  batch.put_vms.push_back(std::move(next));
  Finish(call, std::move(batch), std::move(operation), reply);
  if (!call.validate_only) Reconcile(name);
}

void VmManager::Start(CallInfo call, v1::StartVirtualMachineRequest request, Reply reply) {
  Act(call, request, reply,
      [&](Vm& vm, StoredVm& next, v1::Operation& operation, Batch& batch) -> ApiResult<void> {
        if (vm.process == Process::kPaused)
          return std::unexpected(
              WrongState(request.name(), request.name() + " is paused: resume it"));
        if (vm.process == Process::kRunning && vm.off_asked)
          return std::unexpected(WrongState(request.name(), request.name() + " is being stopped"));
        if (vm.process != Process::kNone && next.vm.desired_state() == v1::DESIRED_STATE_RUNNING)
          return std::unexpected(WrongState(request.name(), request.name() + " runs already"));
        if (!IsClusters(vm))
          if (auto room = CheckCapacity(vm); !room) return room;
        access::Usage more;
        if (!WantsToRun(next)) AddRunning(next.vm.spec(), more);
        if (auto quota = CheckQuota(ProjectOf(request.name()), more); !quota) return quota;
        vm.not_before_ns = 0;
        next.vm.mutable_status()->set_restart_count(0);
        if (vm.process == Process::kNone && !IsClusters(vm)) next.running_spec = next.vm.spec();
        operation.mutable_metadata()->set_cancellable(!IsClusters(vm));
        return ChangeDesired(vm, next, v1::DESIRED_STATE_RUNNING, operation, batch);
      });
}

void VmManager::Shutdown(CallInfo call, v1::ShutdownVirtualMachineRequest request, Reply reply) {
  Act(call, request, reply,
      [&](Vm& vm, StoredVm& next, v1::Operation& operation, Batch& batch) -> ApiResult<void> {
        if (auto timeout = CheckTimeout("timeout", request.timeout()); !timeout) return timeout;
        if (auto here = CheckHere(vm, "shut down"); !here) return here;
        if (vm.process != Process::kRunning || vm.off_asked)
          return std::unexpected(WrongState(request.name(), request.name() + " does not run"));
        if (Pending(vm, "Shutdown") != nullptr)
          return std::unexpected(
              WrongState(request.name(), fmt::format("{} is being shut down ({})", request.name(),
                                                     Pending(vm, "Shutdown")->name())));
        const auto& timeout =
            request.has_timeout() ? request.timeout() : next.vm.spec().shutdown_timeout();
        v1::OperationMetadata& metadata = *operation.mutable_metadata();
        if (IsClusters(vm)) metadata.set_node("nodes/" + options_.node);
        *metadata.mutable_deadline_time() = Now();
        metadata.mutable_deadline_time()->set_seconds(metadata.deadline_time().seconds() +
                                                      timeout.seconds());
        metadata.set_force(request.force());
        metadata.set_cancellable(true);
        metadata.set_stage("waiting for the guest to switch itself off");
        AddEvent(batch, v1::EVENT_TYPE_SHUTDOWN_REQUESTED, next.vm, "REQUESTED", "", &operation);
        return {};
      });
}

void VmManager::Stop(CallInfo call, v1::StopVirtualMachineRequest request, Reply reply) {
  Act(call, request, reply,
      [&](Vm& vm, StoredVm& next, v1::Operation& operation, Batch& batch) -> ApiResult<void> {
        if (next.vm.desired_state() == v1::DESIRED_STATE_STOPPED)
          return std::unexpected(
              WrongState(request.name(), vm.process == Process::kNone
                                             ? request.name() + " does not run"
                                             : request.name() + " is being stopped already"));
        return ChangeDesired(vm, next, v1::DESIRED_STATE_STOPPED, operation, batch);
      });
}

void VmManager::Reset(CallInfo call, v1::ResetVirtualMachineRequest request, Reply reply) {
  Act(call, request, reply,
      [&](Vm& vm, StoredVm&, v1::Operation& operation, Batch&) -> ApiResult<void> {
        if (auto here = CheckHere(vm, "reset"); !here) return here;
        if (vm.process != Process::kRunning || vm.off_asked)
          return std::unexpected(WrongState(request.name(), request.name() + " does not run"));
        if (IsClusters(vm)) operation.mutable_metadata()->set_node("nodes/" + options_.node);
        return {};
      });
}

void VmManager::Pause(CallInfo call, v1::PauseVirtualMachineRequest request, Reply reply) {
  Act(call, request, reply,
      [&](Vm& vm, StoredVm& next, v1::Operation& operation, Batch& batch) -> ApiResult<void> {
        if (auto here = CheckHere(vm, "paused"); !here) return here;
        if (vm.process != Process::kRunning || vm.off_asked ||
            next.vm.desired_state() != v1::DESIRED_STATE_RUNNING)
          return std::unexpected(WrongState(request.name(), request.name() + " does not run"));
        if (auto may = CheckPause(vm); !may) return may;
        if (IsClusters(vm)) operation.mutable_metadata()->set_node("nodes/" + options_.node);
        return ChangeDesired(vm, next, v1::DESIRED_STATE_PAUSED, operation, batch);
      });
}

void VmManager::Resume(CallInfo call, v1::ResumeVirtualMachineRequest request, Reply reply) {
  Act(call, request, reply,
      [&](Vm& vm, StoredVm& next, v1::Operation& operation, Batch& batch) -> ApiResult<void> {
        const bool gone = vm.process == Process::kNone;
        if (next.vm.desired_state() != v1::DESIRED_STATE_PAUSED || (gone && !IsClusters(vm)))
          return std::unexpected(WrongState(request.name(), request.name() + " is not paused"));
        // One of the cluster's begins anew on any node if nothing is left of what was paused.
        if (!gone)
          if (auto here = CheckHere(vm, "resumed"); !here) return here;
        if (!gone && IsClusters(vm))
          operation.mutable_metadata()->set_node("nodes/" + options_.node);
        return ChangeDesired(vm, next, v1::DESIRED_STATE_RUNNING, operation, batch);
      });
}

// ---- operations

void VmManager::CancelOperation(const CallInfo& call, const std::string& name, Reply reply) {
  const auto found = operations_.find(name);
  if (found == operations_.end())
    return reply(std::unexpected(ResourceNotFound("operation", name)));
  const v1::Operation operation = found->second;
  if (operation.done() || !operation.metadata().cancellable()) return reply(operation);
  Batch batch;
  v1::Operation asked = operation;
  asked.mutable_metadata()->set_cancel_requested(true);
  EndOperation(batch, asked,
               MakeApiError(Code::kCancelled, reason::kCancelled, "cancelled by " + call.caller));
  const auto vm = vms_.find(operation.metadata().target());
  const std::string& verb = operation.metadata().verb();
  if (vm != vms_.end() && verb != "Shutdown") {
    StoredVm next = vm->second.stored;
    next.vm.set_desired_state(v1::DESIRED_STATE_STOPPED);
    next.deleting = verb == "Create";  // nothing half-done stays
    Touch(next.vm);
    FillStatus(vm->second, next);
    AddStateEvent(batch, vm->second, next, &asked);
    batch.put_vms.push_back(std::move(next));
  }
  const v1::Operation answer = batch.put_operations.back();
  if (const Status stored = Commit(std::move(batch)); !stored)
    return reply(std::unexpected(FromError(stored.error(), reason::kStoreFailed)));
  reply(answer);
  Reconcile(operation.metadata().target());
}

std::uint64_t VmManager::WaitOperation(const std::string& name, Reply reply) {
  const auto found = operations_.find(name);
  if (found == operations_.end()) {
    reply(std::unexpected(ResourceNotFound("operation", name)));
    return 0;
  }
  if (found->second.done()) {
    reply(found->second);
    return 0;
  }
  const std::uint64_t id = next_waiter_++;
  waiters_[id] = {name, std::move(reply)};
  return id;
}

void VmManager::ForgetWait(std::uint64_t id) { waiters_.erase(id); }

ApiResult<VmUid> VmManager::UidOf(const std::string& name) const {
  const auto found = vms_.find(name);
  if (found == vms_.end()) return std::unexpected(ResourceNotFound("vm", name));
  if (found->second.process != Process::kNone)
    if (auto here = CheckHere(found->second, "reached"); !here)
      return std::unexpected(std::move(here).error());
  return found->second.stored.vm.uid();
}

}  // namespace gemel::daemon
