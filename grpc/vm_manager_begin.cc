// The start of the daemon: what the store says, and what was found running.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "grpc/vm_manager.h"

namespace gemel::daemon {

VmManager::VmManager(EventLoop* loop, Timers* timers, const Clock* clock, VmStore* store,
                     Published* published, Options options)
    : loop_(loop),
      timers_(timers),
      clock_(clock),
      store_(store),
      published_(published),
      options_(std::move(options)) {}

VmManager::~VmManager() {
  for (const auto& [name, vm] : vms_) {
    if (vm.timer) timers_->Cancel(*vm.timer);
  }
  if (network_timer_) timers_->Cancel(*network_timer_);
}

void VmManager::Begin(VmSupervisor* supervisor, std::function<void(Status)> ready) {
  supervisor_ = supervisor;
  auto contents = store_->Load();
  if (!contents) {
    loop_->Post([ready, error = contents.error()] { ready(std::unexpected(error)); });
    return;
  }
  ready_ = std::move(ready);
  LoadContents(std::move(*contents));
  std::vector<VmUid> uids;
  for (const auto& [name, vm] : vms_) uids.push_back(vm.stored.vm.uid());
  supervisor_->Adopt(std::move(uids),
                     [this, alive = std::weak_ptr(alive_)](const Result<Adoption>& adoption) {
                       if (alive.expired()) return;
                       if (!adoption) return ready_(std::unexpected(adoption.error()));
                       Adopted(*adoption);
                     });
}

void VmManager::LoadContents(StoreContents contents) {
  published_->events = std::make_unique<EventLog>(contents.id);
  last_sequence_ = contents.last_sequence;
  taken_decisions_ = std::move(contents.taken_decisions);
  for (auto& [sequence, event] : contents.events)
    published_->events->Restore(sequence, std::move(event));
  for (StoredVm& stored : contents.vms) {
    names_[stored.vm.uid()] = stored.vm.name();
    published_->vms.Put(stored.vm.name(), stored.vm);
    Vm& vm = vms_[stored.vm.name()];
    vm.stored = std::move(stored);
  }
  LoadDisks(std::move(contents.disks));
  LoadNetworks(std::move(contents.networks));
  for (const StoredRequest& request : contents.requests) {
    requests_[request.key] = request;
    requests_of_[request.operation].insert(request.key);
  }
  const auto ended_before = [](const v1::Operation& a, const v1::Operation& b) {
    return std::pair(a.metadata().end_time().seconds(), a.metadata().end_time().nanos()) <
           std::pair(b.metadata().end_time().seconds(), b.metadata().end_time().nanos());
  };
  std::sort(contents.operations.begin(), contents.operations.end(), ended_before);
  for (const v1::Operation& operation : contents.operations) ApplyOperation(operation);
}

void VmManager::Adopted(const Adoption& adoption) {
  for (const std::string& orphan : adoption.orphans)
    LOG_UNLIMITED(kWarning, "manager", "cleaned away what belonged to nobody: {}", orphan);
  for (const AdoptedVm& found : adoption.vms) {
    Vm* vm = FindUid(found.uid);
    if (vm == nullptr || IsClusters(*vm)) continue;
    const v1::VirtualMachineState before = vm->stored.vm.status().state();
    switch (found.state) {
      case AdoptedVm::State::kLive:
        vm->process = found.info.state == VmState::kPaused ? Process::kPaused : Process::kRunning;
        break;
      case AdoptedVm::State::kEnded:
        vm->exit = found.exit;
        break;
      case AdoptedVm::State::kNothing:
        // It ran when the store was last written, and nobody could write how it ended.
        if (before != v1::VIRTUAL_MACHINE_STATE_RUNNING &&
            before != v1::VIRTUAL_MACHINE_STATE_PAUSED)
          break;
        vm->exit = VmExit{VmExitCause::kLost, 0, 0, "the host went down with it", 0};
        vm->exit_with_host = true;
        break;
    }
  }
  Batch batch;
  for (const auto& [name, operation] : operations_) {
    // Nobody knows whether the button was pressed before or after.
    if (!operation.done() && operation.metadata().verb() == "Reset")
      EndOperation(
          batch, operation,
          MakeApiError(Code::kAborted, reason::kDaemonRestarted,
                       "the daemon was restarted: it may or may not have been carried out"));
  }
  const Status stored = batch.put_operations.empty() ? Status() : Commit(std::move(batch));
  BeginCluster(adoption);
  std::exchange(ready_, nullptr)(stored);
  AdoptNetworks(adoption);
  std::vector<std::string> names;
  for (const auto& [name, vm] : vms_) names.push_back(name);
  for (const std::string& name : names) Reconcile(name);
  for (const auto& [name, disk] : disks_) PursueDisk(disk);
}

}  // namespace gemel::daemon
