// The one path from what machines are to what they shall be: after a call, after something happened
// to a process, and when the daemon starts.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "grpc/vm_manager.h"

namespace gemel::daemon {
namespace {

constexpr std::int64_t kFirstRestartMs = 1000;
constexpr std::int64_t kLastRestartMs = 300'000;
constexpr std::int64_t kBetweenDiskErrorsNs = 1'000'000'000;

// `restarts`: with the one that is due; 0: it was asked for, and comes at once.
std::int64_t RestartDelayMs(std::int64_t restarts) {
  if (restarts <= 0) return 0;
  const auto doublings = std::min<std::int64_t>(restarts - 1, 20);
  return std::min(kFirstRestartMs << doublings, kLastRestartMs);
}

}  // namespace

// ---- what happens to processes

void VmManager::OnVmEvent(const VmUid& uid, const VmEvent& event) {
  Vm* vm = FindUid(uid);
  if (vm == nullptr) return;
  const std::string name = vm->stored.vm.name();
  if (std::holds_alternative<VmEnded>(event)) vm->silent = false;
  if (cluster_ != nullptr && cluster_->OnVmEvent(uid, event) &&
      std::holds_alternative<VmEnded>(event))
    return;
  if (const auto* ended = std::get_if<VmEnded>(&event)) {
    vm->exit = ended->exit;
    vm->process = Process::kNone;
    vm->off_asked = false;
    vm->button_pressed = false;
    const VmUid of = uid;  // which may be the supervisor's own, and go with its record
    Reconcile(name);
    return StoppedWithHost(of);
  }
  if (const auto* trouble = std::get_if<VmDiskError>(&event)) return TellDiskError(*vm, *trouble);
  if (std::holds_alternative<VmLatched>(event)) return;  // the cluster's business
  Batch batch;
  if (std::holds_alternative<VmWasReset>(event)) {
    const v1::Operation* operation = Pending(*vm, "Reset");
    AddEvent(batch, v1::EVENT_TYPE_RESET, vm->stored.vm,
             operation != nullptr ? "REQUESTED" : "GUEST", "", operation);
  } else {
    // Told by two who notice, each perhaps again and again.
    const auto* unreachable = std::get_if<VmUnreachable>(&event);
    if (std::exchange(vm->silent, unreachable != nullptr) == (unreachable != nullptr)) return;
    if (unreachable != nullptr)
      AddEvent(batch, v1::EVENT_TYPE_HEARTBEAT_STOPPED, vm->stored.vm, "VMM_UNREACHABLE",
               unreachable->reason);
    else
      AddEvent(batch, v1::EVENT_TYPE_HEARTBEAT_RESUMED, vm->stored.vm, "VMM_ANSWERS", "");
  }
  static_cast<void>(Commit(std::move(batch)));  // logged; the machine is as it was
}

// Its process is not to be trusted with how often: an event is a write of ours.
void VmManager::TellDiskError(Vm& vm, const VmDiskError& trouble) {
  vm.disk_errors += trouble.count;
  const std::int64_t now = clock_->MonotonicNow();
  if (now < vm.next_disk_error_ns) return;
  vm.next_disk_error_ns = now + kBetweenDiskErrorsNs;
  Batch batch;
  AddEvent(batch, v1::EVENT_TYPE_DISK_ERROR, vm.stored.vm, "HOST_IO_ERROR",
           fmt::format("{}: {} ({} since the last event)", trouble.device, trouble.reason,
                       std::exchange(vm.disk_errors, 0)));
  LOG(kWarning, "manager", "{}: {}: {}", vm.stored.vm.name(), Printable(trouble.device),
      Printable(trouble.reason));
  static_cast<void>(Commit(std::move(batch)));
}

VmManager::Vm* VmManager::FindUid(const VmUid& uid) {
  const auto name = names_.find(uid);
  return name == names_.end() ? nullptr : &vms_.at(name->second);
}

const v1::Operation* VmManager::Pending(const Vm& vm, std::string_view verb) const {
  for (const std::string& name : vm.operations) {
    const v1::Operation& operation = operations_.at(name);
    if (operation.metadata().verb() == verb) return &operation;
  }
  return nullptr;
}

const v1::Operation* VmManager::AnyPending(const Vm& vm) const {
  return vm.operations.empty() ? nullptr : &operations_.at(*vm.operations.begin());
}

// ---- Reconcile: first what has happened is stored, then what is missing is done

void VmManager::Reconcile(const std::string& of) {
  const std::string name = of;  // which may be the record's own, and go with it
  const auto found = vms_.find(name);
  if (found == vms_.end()) return;
  if (!Settle(found->second)) return ReconcileLater(found->second, kRetryMs);
  if (const auto still = vms_.find(name); still != vms_.end()) Pursue(still->second);
}

void VmManager::ReconcileLater(Vm& vm, std::int64_t delay_ms) {
  if (vm.timer) timers_->Cancel(*vm.timer);
  vm.timer = timers_->After(delay_ms, [this, uid = vm.stored.vm.uid()] {
    Vm* due = FindUid(uid);
    if (due == nullptr) return;
    due->timer.reset();
    Reconcile(due->stored.vm.name());
  });
}

bool VmManager::Settle(Vm& vm) {
  StoredVm next = vm.stored;
  Batch batch;
  const std::int64_t not_before = vm.not_before_ns;
  const v1::Operation* cause = AnyPending(vm);
  if (vm.exit) SettleEnd(vm, next, batch);
  if (vm.failure) SettleFailure(vm, next, batch);
  const bool restarts = (vm.exit && !vm.exit_with_host) || vm.failure;
  if (restarts && next.vm.desired_state() != v1::DESIRED_STATE_STOPPED)
    vm.not_before_ns =
        clock_->MonotonicNow() + RestartDelayMs(next.vm.status().restart_count()) * 1'000'000;
  FillStatus(vm, next);
  AddStateEvent(batch, vm, next, cause);
  SettleOperations(vm, next, batch);
  const bool gone = next.deleting && vm.process == Process::kNone && !vm.busy && !IsClusters(vm);
  if (gone) {
    AddEvent(batch, v1::EVENT_TYPE_DELETED, next.vm,
             next.vm.status().reason().empty() ? "REQUESTED" : next.vm.status().reason(), "",
             Pending(vm, "Delete"));
    batch.delete_vms.push_back(next.vm.name());
  } else if (next.vm.SerializeAsString() != vm.stored.vm.SerializeAsString() ||
             next.deleting != vm.stored.deleting) {
    batch.put_vms.push_back(std::move(next));
  }
  const VmUid uid = vm.stored.vm.uid();
  const bool release = vm.exit.has_value() && !vm.exit_with_host;
  const bool ended = vm.exit.has_value() || vm.failure.has_value();
  const v1::VirtualMachineSpec ran = ended ? vm.stored.running_spec : v1::VirtualMachineSpec();
  const bool nothing = batch.put_vms.empty() && batch.delete_vms.empty() && batch.events.empty() &&
                       batch.put_operations.empty();
  if (!nothing && !Commit(std::move(batch))) {
    vm.not_before_ns = not_before;
    return false;
  }
  // The end is stored: the supervisor's record of it has served.
  if (release) {
    if (const Status released = supervisor_->Release(uid); !released)
      LOG(kWarning, "manager", "{}: {}", uid, released.error().message);
  }
  ClosePorts(uid, ran);
  if (Vm* still = FindUid(uid)) {
    still->exit.reset();
    still->exit_with_host = false;
    still->failure.reset();
  }
  return true;
}

// How its process ended, what that means for what it shall be, and for what was under way.
void VmManager::SettleEnd(const Vm& vm, StoredVm& next, Batch& batch) const {
  const v1::ExitReason reason = ToExitReason(vm.exit->cause);
  v1::VirtualMachineStatus& status = *next.vm.mutable_status();
  v1::VirtualMachineExit& exit = *status.mutable_last_exit();
  exit.Clear();
  exit.set_reason(reason);
  exit.set_message(Printable(vm.exit->reason));
  exit.set_exit_status(vm.exit->status);
  exit.set_signal(vm.exit->signal);
  *exit.mutable_end_time() = Now();
  if (vm.exit->ended_at > 0) {
    exit.mutable_end_time()->set_seconds(vm.exit->ended_at / 1'000'000'000);
    exit.mutable_end_time()->set_nanos(
        static_cast<std::int32_t>(vm.exit->ended_at % 1'000'000'000));
  }
  status.set_reason(ReasonWord(reason));
  status.set_message(exit.message());
  next.running_spec.Clear();
  if (vm.exit->cause == VmExitCause::kTripleFault)
    AddEvent(batch, v1::EVENT_TYPE_TRIPLE_FAULT, next.vm, status.reason(), exit.message());
  if (vm.exit->cause == VmExitCause::kGuestPanicked)
    AddEvent(batch, v1::EVENT_TYPE_GUEST_PANIC, next.vm, status.reason(), exit.message());
  if (next.vm.desired_state() == v1::DESIRED_STATE_STOPPED || vm.exit_with_host) return;
  if (host_stop_ && Pending(vm, "Shutdown") == nullptr) return;  // it runs again with the host
  const bool again = next.vm.spec().restart_policy() == v1::RESTART_POLICY_ON_FAILURE &&
                     !IsWanted(vm.exit->cause) && Pending(vm, "Shutdown") == nullptr;
  if (again) {
    status.set_restart_count(status.restart_count() + 1);
  } else {
    next.vm.set_desired_state(v1::DESIRED_STATE_STOPPED);
    Touch(next.vm);
  }
}

// It could not be started. Who asked for it is told, and nothing half-done stays.
void VmManager::SettleFailure(const Vm& vm, StoredVm& next, Batch& batch) const {
  v1::VirtualMachineStatus& status = *next.vm.mutable_status();
  status.set_reason(ReasonOf(*vm.failure).empty() ? std::string(reason::kStartFailed)
                                                  : ReasonOf(*vm.failure));
  status.set_message(vm.failure->message());
  next.running_spec.Clear();
  v1::VirtualMachineExit& exit = *status.mutable_last_exit();
  exit.Clear();
  exit.set_reason(v1::EXIT_REASON_START_FAILED);
  exit.set_message(vm.failure->message());
  *exit.mutable_end_time() = Now();
  bool asked = false;
  for (const std::string_view verb : {"Create", "Start"}) {
    if (const v1::Operation* operation = Pending(vm, verb)) {
      asked = true;
      next.deleting = next.deleting || verb == "Create";
      EndOperation(batch, *operation, *vm.failure);
    }
  }
  const bool again = !asked && next.vm.spec().restart_policy() == v1::RESTART_POLICY_ON_FAILURE;
  if (next.vm.desired_state() == v1::DESIRED_STATE_STOPPED) return;
  if (again) {
    status.set_restart_count(status.restart_count() + 1);
  } else {
    next.vm.set_desired_state(v1::DESIRED_STATE_STOPPED);
    Touch(next.vm);
  }
}

// Operations that have what they wanted, and those that cannot get it any more.
void VmManager::SettleOperations(const Vm& vm, const StoredVm& next, Batch& batch) const {
  if (IsClusters(vm) && !vm.stood) return;  // whether it runs elsewhere is not known yet
  for (const std::string& name : vm.operations) {
    const v1::Operation& operation = operations_.at(name);
    const bool ended_above =
        std::any_of(batch.put_operations.begin(), batch.put_operations.end(),
                    [&](const v1::Operation& put) { return put.name() == name; });
    if (ended_above) continue;
    if (const auto error = WhyNever(vm, next, operation))
      EndOperation(batch, operation, *error);
    else if (HasComeAbout(vm, operation.metadata().verb()))
      EndOperation(batch, operation, next.vm);
  }
}

// Whether the machine is what that verb asks for.
bool VmManager::HasComeAbout(const Vm& vm, std::string_view verb) {
  if (vm.busy) return false;
  if (verb == "Delete" && IsClusters(vm)) return false;  // until it is in the cluster no more
  if (verb == "Stop" || verb == "Delete" || verb == "Shutdown") return vm.process == Process::kNone;
  if (verb == "Pause") return vm.process == Process::kPaused && (vm.held || !IsClusters(vm));
  const bool run = verb == "Create" || verb == "Start" || verb == "Resume";
  return run && vm.process == Process::kRunning;
}

// Why what an operation asks for will not come about; nullopt: it may, or has.
std::optional<ApiError> VmManager::WhyNever(const Vm& vm, const StoredVm& next,
                                            const v1::Operation& operation) const {
  const std::string& verb = operation.metadata().verb();
  const bool gone = vm.process == Process::kNone && !vm.busy;
  const bool stopped = next.vm.desired_state() == v1::DESIRED_STATE_STOPPED;
  const bool ends = verb == "Stop" || verb == "Delete" || verb == "Shutdown";
  if (!ends && verb != "Reset" && IsStuck(vm, next.vm.desired_state()))
    return MakeApiError(
        Code::kFailedPrecondition, vm.standing.reason,
        Printable(vm.standing.message) + (verb == "Pause" ? "" : " (it is tried again)"));
  if (verb == "Delete" && IsClusters(vm)) return std::nullopt;
  // Whether that has lost its process, or begins anew, is still to be seen.
  const bool begins_here =
      vm.standing.owner == options_.node && (verb == "Pause" || verb == "Resume");
  if (!operation.metadata().node().empty() && !gone && !IsHere(vm) && !begins_here)
    return MakeApiError(Code::kAborted, reason::kEndedEarly,
                        fmt::format("{} is on node {} now", next.vm.name(), vm.standing.owner));
  if (ends || !gone || !stopped || vm.failure) return std::nullopt;
  return MakeApiError(
      Code::kAborted, reason::kEndedEarly,
      fmt::format("{} ended meanwhile: {}", next.vm.name(), next.vm.status().message()));
}

void VmManager::Pursue(Vm& vm) {
  if (IsClusters(vm)) return PursueHere(vm);
  if (vm.busy || vm.process == Process::kStarting) return;
  const bool wanted =
      vm.stored.vm.desired_state() != v1::DESIRED_STATE_STOPPED && !vm.stored.deleting;
  if (!wanted) {
    if (vm.process != Process::kNone && !vm.off_asked) PowerOff(vm);
    return;
  }
  if (vm.process == Process::kNone) {
    if (host_stop_) return;
    const std::int64_t wait = vm.not_before_ns - clock_->MonotonicNow();
    if (vm.not_before_ns > 0 && wait > 0) return ReconcileLater(vm, wait / 1'000'000 + 1);
    return StartProcess(vm);
  }
  PursueRunning(vm);
}

void VmManager::PursueRunning(Vm& vm) {
  const VmUid uid = vm.stored.vm.uid();
  const bool pause = vm.stored.vm.desired_state() == v1::DESIRED_STATE_PAUSED;
  const auto done = [this, uid](Process now) {
    return [this, uid, now, alive = std::weak_ptr(alive_)](const Status& status) {
      if (alive.expired()) return;
      Answered(uid, [&](Vm& answered) {
        if (answered.process == Process::kNone) return true;
        if (!status) return Refused(answered, status.error());
        answered.process = now;
        return true;
      });
    };
  };
  if (pause && vm.process == Process::kRunning) {
    vm.busy = true;
    return supervisor_->Pause(uid, done(Process::kPaused));
  }
  if (!pause && vm.process == Process::kPaused) {
    vm.busy = true;
    return supervisor_->Resume(uid, done(Process::kRunning));
  }
  if (Pending(vm, "Reset") != nullptr) {
    vm.busy = true;
    return supervisor_->Reset(
        uid, [this, uid, alive = std::weak_ptr(alive_)](const Status& status) {
          if (alive.expired()) return;
          Answered(uid, [&](Vm& answered) {
            const v1::Operation* operation = Pending(answered, "Reset");
            if (operation == nullptr) return true;
            Batch batch;
            if (status)
              EndOperation(batch, *operation, answered.stored.vm);
            else
              EndOperation(batch, *operation, FromError(status.error(), reason::kHostRefused));
            return Commit(std::move(batch)).has_value();
          });
        });
  }
  if (const v1::Operation* operation = Pending(vm, "Shutdown")) PursueShutdown(vm, *operation);
}

// Pause or Resume could not be done: it shall be what it is, and who asked is told.
bool VmManager::Refused(Vm& vm, const Error& error) {
  LOG(kWarning, "manager", "{}: {}", vm.stored.vm.uid(), error.message);
  StoredVm next = vm.stored;
  Batch batch;
  if (next.vm.desired_state() != v1::DESIRED_STATE_STOPPED) {
    next.vm.set_desired_state(vm.process == Process::kPaused ? v1::DESIRED_STATE_PAUSED
                                                             : v1::DESIRED_STATE_RUNNING);
    Touch(next.vm);
  }
  for (const std::string_view verb : {"Pause", "Resume"}) {
    if (const v1::Operation* operation = Pending(vm, verb))
      EndOperation(batch, *operation, FromError(error, reason::kHostRefused));
  }
  batch.put_vms.push_back(std::move(next));
  return Commit(std::move(batch)).has_value();
}

// An answer of the supervisor: what `then` learns from it, then on from there; a little later if
// `then` could not store what it learnt.
void VmManager::Answered(const VmUid& uid, const std::function<bool(Vm&)>& then) {
  Vm* vm = FindUid(uid);
  if (vm == nullptr) return;
  vm->busy = false;
  const bool stored = then(*vm);
  Vm* still = FindUid(uid);
  if (still == nullptr) return;
  if (!stored) return ReconcileLater(*still, kRetryMs);
  Reconcile(still->stored.vm.name());
}

// ---- off

void VmManager::PowerOff(Vm& vm) {
  vm.off_asked = true;
  const VmUid uid = vm.stored.vm.uid();
  supervisor_->PowerOff(uid, [this, uid, alive = std::weak_ptr(alive_)](const Status& status) {
    if (alive.expired() || status) return;
    LOG(kWarning, "manager", "{}: power off: {}", uid, status.error().message);
    Vm* still = FindUid(uid);
    if (still == nullptr || still->process == Process::kNone) return;
    still->off_asked = false;
    ReconcileLater(*still, kRetryMs);
  });
}

void VmManager::PursueShutdown(Vm& vm, const v1::Operation& operation) {
  const VmUid uid = vm.stored.vm.uid();
  const std::int64_t left = operation.metadata().deadline_time().seconds() * 1000 +
                            operation.metadata().deadline_time().nanos() / 1'000'000 -
                            clock_->RealtimeNow() / 1'000'000;
  if (left <= 0) {
    Batch batch;
    if (operation.metadata().force() && IsClusters(vm)) {
      cluster_->StopItself(vm.stored.vm.status().failover().number(), "SHUTDOWN_FORCED",
                           "its guest has not switched itself off in time");
      return;
    }
    if (operation.metadata().force()) {
      StoredVm next = vm.stored;
      next.vm.set_desired_state(v1::DESIRED_STATE_STOPPED);
      Touch(next.vm);
      FillStatus(vm, next);
      AddStateEvent(batch, vm, next, &operation);
      batch.put_vms.push_back(std::move(next));
    } else {
      EndOperation(batch, operation,
                   MakeApiError(Code::kDeadlineExceeded, reason::kTimeout,
                                "the guest has not switched itself off in time; it runs on"));
    }
    if (!Commit(std::move(batch))) return ReconcileLater(vm, kRetryMs);
    vm.button_pressed = false;
    return Reconcile(vm.stored.vm.name());
  }
  ReconcileLater(vm, left + 1);
  if (std::exchange(vm.button_pressed, true)) return;
  supervisor_->PowerButton(uid, [uid](const Status& status) {
    if (!status) LOG(kWarning, "manager", "{}: power button: {}", uid, status.error().message);
  });
}

}  // namespace gemel::daemon
