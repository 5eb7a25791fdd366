// How records change: batches, what follows from them in memory, and what is published.
#include <google/protobuf/empty.pb.h>

#include <algorithm>

#include "base/log_sink.h"
#include "grpc/field_mask.h"
#include "grpc/resource_name.h"
#include "grpc/uuid.h"
#include "grpc/vm_manager.h"

namespace gemel::daemon {
namespace {

constexpr std::int64_t kOperationsKeptNs = 24ll * 3600 * 1'000'000'000;
constexpr std::size_t kDoneOperationsKept = 10'000;
constexpr std::size_t kUpkeepPerCommit = 8;
constexpr std::uint64_t kEventUpkeepEvery = 256;

std::int64_t ToNs(const google::protobuf::Timestamp& time) {
  return time.seconds() * 1'000'000'000 + time.nanos();
}

}  // namespace

google::protobuf::Timestamp VmManager::Now() const {
  const std::int64_t now = clock_->RealtimeNow();
  google::protobuf::Timestamp time;
  time.set_seconds(now / 1'000'000'000);
  time.set_nanos(static_cast<std::int32_t>(now % 1'000'000'000));
  return time;
}

void VmManager::Touch(v1::VirtualMachine& vm) const {
  const std::uint64_t generation = vm.status().observed_generation() + 1;
  vm.mutable_status()->set_observed_generation(generation);
  vm.set_etag(fmt::format("{}-{:08x}", generation, Fnv1a(vm.uid()) & 0xffffffff));
  *vm.mutable_update_time() = Now();
}

void VmManager::FillStatus(const Vm& vm, StoredVm& next) const {
  v1::VirtualMachineStatus& status = *next.vm.mutable_status();
  const bool wanted = next.vm.desired_state() != v1::DESIRED_STATE_STOPPED && !next.deleting;
  v1::VirtualMachineState state = v1::VIRTUAL_MACHINE_STATE_STOPPED;
  switch (vm.process) {
    case Process::kNone:
      if (wanted && !host_stop_)
        state = vm.not_before_ns > 0 ? v1::VIRTUAL_MACHINE_STATE_FAILED
                                     : v1::VIRTUAL_MACHINE_STATE_STARTING;
      break;
    case Process::kStarting:
      state = wanted ? v1::VIRTUAL_MACHINE_STATE_STARTING : v1::VIRTUAL_MACHINE_STATE_STOPPING;
      break;
    case Process::kRunning:
      state = wanted ? v1::VIRTUAL_MACHINE_STATE_RUNNING : v1::VIRTUAL_MACHINE_STATE_STOPPING;
      break;
    case Process::kPaused:
      state = wanted ? v1::VIRTUAL_MACHINE_STATE_PAUSED : v1::VIRTUAL_MACHINE_STATE_STOPPING;
      break;
  }
  if (state == v1::VIRTUAL_MACHINE_STATE_STARTING && IsStuck(vm, next.vm.desired_state()))
    state = v1::VIRTUAL_MACHINE_STATE_FAILED;
  if (status.state() != state) {
    status.set_state(state);
    *status.mutable_state_time() = Now();
    if (state == v1::VIRTUAL_MACHINE_STATE_RUNNING) {
      if (!status.has_start_time()) *status.mutable_start_time() = Now();
      status.clear_reason();
      status.clear_message();
    }
  }
  if (IsClusters(vm) || next.vm.spec().has_failover()) return FillClusterStatus(vm, next);
  const bool has_process = vm.process != Process::kNone;
  if (!has_process) status.clear_start_time();
  status.set_pid(has_process ? supervisor_->Pid(next.vm.uid()) : 0);
  status.set_node(has_process || wanted ? "nodes/" + options_.node : "");
  status.clear_pending_changes();
  if (has_process) {
    for (std::string& path : DifferingPaths(next.running_spec, next.vm.spec()))
      status.add_pending_changes(std::move(path));
  }
}

void VmManager::AddEvent(Batch& batch, v1::EventType type, const v1::VirtualMachine& vm,
                         std::string_view reason, std::string_view message,
                         const v1::Operation* operation) const {
  v1::Event event;
  *event.mutable_event_time() = Now();
  event.set_type(type);
  event.set_resource(vm.name());
  event.set_uid(vm.uid());
  event.set_reason(std::string(reason));
  event.set_message(Printable(message));
  if (operation != nullptr) {
    event.set_operation(operation->name());
    event.set_request_id(operation->metadata().request_id());
    event.set_caller(operation->metadata().caller());
  }
  batch.events.emplace_back(last_sequence_ + batch.events.size() + 1, std::move(event));
}

void VmManager::AddStateEvent(Batch& batch, const Vm& vm, const StoredVm& next,
                              const v1::Operation* operation) const {
  const v1::VirtualMachineStatus& before = vm.stored.vm.status();
  const v1::VirtualMachineStatus& after = next.vm.status();
  if (before.state() == after.state()) return;
  AddEvent(batch, v1::EVENT_TYPE_STATE_CHANGED, next.vm,
           after.reason().empty() ? "REQUESTED" : after.reason(), after.message(), operation);
  v1::StateChange& change = *batch.events.back().second.mutable_state_change();
  change.set_old_state(before.state());
  change.set_new_state(after.state());
  if (vm.exit) *change.mutable_exit() = after.last_exit();
}

void VmManager::EndOperation(Batch& batch, v1::Operation operation, const ApiError& error) const {
  operation.set_done(true);
  *operation.mutable_error() = error;
  *operation.mutable_metadata()->mutable_end_time() = Now();
  operation.mutable_metadata()->set_cancellable(false);
  batch.put_operations.push_back(std::move(operation));
}

void VmManager::EndOperation(Batch& batch, v1::Operation operation,
                             const google::protobuf::Message& result) const {
  operation.set_done(true);
  if (operation.metadata().verb() == "Delete")
    operation.mutable_response()->PackFrom(google::protobuf::Empty());
  else
    operation.mutable_response()->PackFrom(result);
  operation.mutable_metadata()->set_progress_percent(100);
  operation.mutable_metadata()->clear_stage();
  operation.mutable_metadata()->set_cancellable(false);
  *operation.mutable_metadata()->mutable_end_time() = Now();
  batch.put_operations.push_back(std::move(operation));
}

// What asks for another state than `by` will not come about.
void VmManager::Supersede(Batch& batch, const Vm& vm, const v1::Operation& by) const {
  for (const std::string& name : vm.operations)
    EndOperation(batch, operations_.at(name), Superseded(by));
}

ApiError VmManager::Superseded(const v1::Operation& by) {
  return MakeApiError(Code::kAborted, reason::kSuperseded,
                      fmt::format("superseded by {} ({})", by.metadata().verb(), by.name()),
                      {{"operation", by.name()}});
}

void VmManager::AddUpkeep(Batch& batch) const {
  const std::int64_t now = clock_->RealtimeNow();
  for (std::size_t i = 0; i < std::min(kUpkeepPerCommit, done_operations_.size()); ++i) {
    const v1::Operation& oldest = operations_.at(done_operations_[i]);
    const bool old = now - ToNs(oldest.metadata().end_time()) > kOperationsKeptNs;
    if (!old && done_operations_.size() - i <= kDoneOperationsKept) break;
    batch.delete_operations.push_back(oldest.name());
  }
  const std::uint64_t last = last_sequence_ + batch.events.size();
  if (last > EventLog::kKept && last / kEventUpkeepEvery != last_sequence_ / kEventUpkeepEvery)
    batch.delete_events_below = last - EventLog::kKept + 1;
}

// Of work that went on after its call was answered.
void VmManager::AddOperationEvents(Batch& batch) const {
  for (const v1::Operation& operation : batch.put_operations) {
    const auto before = operations_.find(operation.name());
    if (!operation.done() || before == operations_.end() || before->second.done()) continue;
    v1::VirtualMachine named;  // what AddEvent takes of a resource: its name and uid
    named.set_name(operation.metadata().target());
    named.set_uid(operation.metadata().target_uid());
    const std::string reason = operation.has_error() ? ReasonOf(operation.error()) : "DONE";
    AddEvent(batch, v1::EVENT_TYPE_OPERATION_DONE, named, reason.empty() ? "FAILED" : reason,
             operation.has_error()
                 ? fmt::format("{}: {}", operation.metadata().verb(), operation.error().message())
                 : operation.metadata().verb(),
             &operation);
  }
}

Status VmManager::Commit(Batch batch) {
  AddOperationEvents(batch);
  AddUpkeep(batch);
  if (Status stored = store_->Commit(batch); !stored) {
    LOG(kError, "store", "{}", stored.error().message);
    published_->problems.Put("store", stored.error().message);
    return stored;
  }
  published_->problems.Remove("store");
  Apply(batch);
  return {};
}

// What calls led to, which may be long after they were answered.
void VmManager::LogEnd(const v1::Operation& operation) {
  if (!operation.done()) return;
  const v1::OperationMetadata& metadata = operation.metadata();
  const LogRequest log_request(metadata.request_id());
  LOG_UNLIMITED(kInfo, "manager", "{}: {} of {} {}{}", operation.name(), metadata.verb(),
                metadata.target(), operation.has_error() ? "failed: " : "is done",
                operation.has_error() ? Printable(operation.error().message()) : "");
}

void VmManager::Apply(const Batch& batch) {
  for (const StoredVm& next : batch.put_vms) {
    vms_[next.vm.name()].stored = next;
    names_[next.vm.uid()] = next.vm.name();
    published_->vms.Put(next.vm.name(), next.vm);
  }
  for (const std::string& name : batch.delete_vms) {
    const auto found = vms_.find(name);
    if (found == vms_.end()) continue;
    if (found->second.timer) timers_->Cancel(*found->second.timer);
    names_.erase(found->second.stored.vm.uid());
    vms_.erase(found);
    published_->vms.Remove(name);
  }
  for (const v1::Disk& disk : batch.put_disks) {
    v1::Disk shown = disk;
    const auto users = UsersOf(disk.name());
    *shown.mutable_users() = {users.begin(), users.end()};
    disks_[disk.name()] = disk;
    published_->disks.Put(disk.name(), std::move(shown));
  }
  for (const std::string& name : batch.delete_disks) {
    disks_.erase(name);
    published_->disks.Remove(name);
  }
  for (const v1::Network& network : batch.put_networks) {
    networks_[network.name()] = network;
    published_->networks.Put(network.name(), network);
  }
  for (const std::string& name : batch.delete_networks) {
    networks_.erase(name);
    published_->networks.Remove(name);
  }
  for (const StoredRequest& request : batch.put_requests) {
    requests_[request.key] = request;
    requests_of_[request.operation].insert(request.key);
  }
  for (const std::string& name : batch.delete_operations) {
    for (const std::string& key : requests_of_[name]) requests_.erase(key);
    requests_of_.erase(name);
    operations_.erase(name);
    std::erase(done_operations_, name);
    published_->operations.Remove(name);
  }
  for (const v1::Operation& operation : batch.put_operations) {
    LogEnd(operation);
    ApplyOperation(operation);
  }
  for (const auto& [sequence, event] : batch.events) {
    last_sequence_ = sequence;
    published_->events->Append(sequence, event);
  }
}

void VmManager::ApplyOperation(const v1::Operation& operation) {
  operations_[operation.name()] = operation;
  published_->operations.Put(operation.name(), operation);
  if (const auto vm = vms_.find(operation.metadata().target()); vm != vms_.end()) {
    if (operation.done())
      vm->second.operations.erase(operation.name());
    else
      vm->second.operations.insert(operation.name());
  }
  if (!operation.done()) return;
  done_operations_.push_back(operation.name());
  std::vector<Reply> replies;
  std::erase_if(waiters_, [&](auto& item) {
    if (item.second.operation != operation.name()) return false;
    replies.push_back(std::move(item.second.reply));
    return true;
  });
  for (const Reply& reply : replies) reply(operation);
}

}  // namespace gemel::daemon
