// Pause and Resume of the cluster's machines. That one shall stand still is etcd's first, as whether it shall
// run; whoever has its process pauses that, and it stays so in it: at the latch, in the next epoch, and when
// gemeld begins anew. Nobody starts it: what of it is lost begins anew once it is resumed.
#include "base/log.h"
#include "grpc/vm_manager.h"

namespace gemel::daemon {

ApiResult<void> VmManager::CheckPause(const Vm& vm) const {
  if (!IsClusters(vm)) return {};
  const std::string& name = vm.stored.vm.name();
  if (vm.standing.record != cluster::VmState::kRunning)
    return std::unexpected(WrongState(name, name + " leaves this node: try again"));
  if (const Status known = cluster_->KnowsLevel(kPausesLevel, "machines that are paused"); !known)
    return std::unexpected(FromError(known.error(), "UPGRADE_FIRST"));
  return {};
}

// What it is on whichever node has it, as far as this one can know: of another's process, that it shall stand
// still is all that is known.
VmManager::Process VmManager::ClusterProcess(const Vm& vm, v1::DesiredState desired) const {
  using State = cluster::VmState;
  const ClusterStanding& standing = vm.standing;
  // What stands still here and is nobody else's, though this node's session be over.
  const bool stands = standing.latched || (standing.here && vm.held);
  if (stands && standing.owner == options_.node) return Process::kPaused;
  if (!standing.owner_open || standing.record == State::kFree) return Process::kNone;
  const bool runs = standing.record == State::kRunning || standing.record == State::kMoving;
  if (!runs || !standing.begun) return Process::kStarting;
  const bool elsewhere = standing.owner != options_.node;
  return elsewhere && desired == v1::DESIRED_STATE_PAUSED ? Process::kPaused : Process::kRunning;
}

// Whether it will not be what it shall before something is changed. One that was resumed just now may be.
bool VmManager::IsStuck(const Vm& vm, v1::DesiredState desired) {
  if (!IsClusters(vm) || !vm.standing.stuck) return false;
  return vm.standing.reason != kPausedLost || desired == v1::DESIRED_STATE_PAUSED;
}

// Of what calls ask, what is not the cluster's to do. A latched process can be paused, and not resumed.
void VmManager::PursueHere(Vm& vm) {
  if (cluster_ == nullptr || !vm.standing.here || vm.busy) return;
  const v1::DesiredState desired = vm.stored.vm.desired_state();
  const bool hold = desired == v1::DESIRED_STATE_PAUSED;
  const bool there = vm.process == Process::kRunning || vm.process == Process::kPaused;
  const bool stays = vm.standing.record != cluster::VmState::kMoving;
  if (there && stays && desired != v1::DESIRED_STATE_STOPPED && hold != vm.held) {
    if (hold || !vm.standing.latched) Turn(vm, hold ? Process::kPaused : Process::kRunning);
    return;
  }
  if (vm.process == Process::kRunning && !hold) PursueRunning(vm);
}

// Has its process pause, or go on.
void VmManager::Turn(Vm& vm, Process to) {
  vm.busy = true;
  const VmUid uid = vm.stored.vm.uid();
  const DoneCallback done = [this, uid, to, alive = std::weak_ptr(alive_)](const Status& status) {
    if (alive.expired()) return;
    Answered(uid, [&](Vm& answered) { return OnTurned(answered, to, status); });
  };
  if (to == Process::kPaused)
    supervisor_->Pause(uid, done);
  else
    supervisor_->Resume(uid, done);
}

// Tried again a little later, unless it is done: it shall be so. Whoever asked is told of what is not merely
// a reset that is under way, or a latch that has just shut.
bool VmManager::OnTurned(Vm& vm, Process to, const Status& status) {
  const std::string_view verb = to == Process::kPaused ? "Pause" : "Resume";
  if (status) {
    vm.held = to == Process::kPaused && vm.standing.here;  // it may have ended since
    vm.process = ClusterProcess(vm, vm.stored.vm.desired_state());
    return true;
  }
  const Error& error = status.error();
  LOG(kWarning, "manager", "{}: {}: {}", vm.stored.vm.uid(), verb, error.message);
  const v1::Operation* const operation = Pending(vm, verb);
  if (operation == nullptr || error.code == Code::kFailedPrecondition) return false;
  Batch batch;
  EndOperation(
      batch, *operation,
      FromError({error.code, error.message + " (it is tried again)"}, reason::kHostRefused));
  static_cast<void>(Commit(std::move(batch)));  // logged; it is tried again in any case
  return false;
}

}  // namespace gemel::daemon
