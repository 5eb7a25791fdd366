// The machine of a cluster's VM: how it latches when its fence shuts, proves that, and goes on.
#include <utility>

#include "base/log.h"
#include "vmm/machine/pc_machine.h"

namespace gemel {
Status PcMachine::CreateFence(const MachineFds& fds) {
  if (!fds.fence) return {};
  claims_.Set(fds.fence->initiator, fds.fence->key);
  ASSIGN_OR_RETURN(fence_, Fence::Create(*fds.fence, &clock_));
  fence_state_.session = fence_->session();
  fence_state_.epoch = fence_->epoch();
  return fence_->Begin(loop_, [this] { OnFenceShut(); });
}

std::optional<MachineFence> PcMachine::fence() const {
  if (fence_ == nullptr) return std::nullopt;
  return fence_state_;
}

Status PcMachine::RequireOpen(std::string_view what) const {
  if (fence_ == nullptr || !fence_->shut()) return {};
  return FailedPrecondition("{}: this VM is latched: session {}.{} is over", what,
                            fence_state_.session.incarnation, fence_state_.session.number);
}

// vCPUs have paused by themselves, or will as soon as they run; here that is waited for. Workers
// prove that they stand by running a task of ours.
void PcMachine::OnFenceShut() {
  if (state_ == MachineState::kOff) return;
  fence_state_.conflicted = fence_->refused();
  LOG_UNLIMITED(kWarning, "machine", "latched: session {}.{} is over{}",
                fence_state_.session.incarnation, fence_state_.session.number,
                fence_state_.conflicted ? ", storage says that the disk is another's" : "");
  PauseVcpus();
  fence_->TellOver();
  told_ = false;
  fence_->Prove([this](std::size_t in_flight) { OnProved(in_flight); });
}

void PcMachine::OnProved(std::size_t in_flight) {
  if (state_ == MachineState::kOff) return;
  const bool drained = in_flight == 0 && fence_state_.in_flight > 0;
  fence_state_.latched = true;
  fence_state_.in_flight = in_flight;
  if (!std::exchange(told_, true) || drained) observer_->OnLatched(fence_state_);
}

Status PcMachine::ResumeUnder(const cluster::FenceGrant& grant) {
  if (fence_ == nullptr) return FailedPrecondition("resume: this VM has no fence");
  if (state_ == MachineState::kOff) return FailedPrecondition("resume: this VM is off");
  if (!fence_state_.latched) return FailedPrecondition("resume: this VM is not latched");
  // Before a disk may log in again; until then none of them does anything.
  claims_.Set(grant.initiator, grant.key);
  RETURN_IF_ERROR(fence_->Renew(grant));
  fence_state_ = {.session = grant.session, .epoch = grant.epoch};
  LOG_UNLIMITED(kInfo, "machine", "goes on: session {}.{}, epoch {}.{}", grant.session.incarnation,
                grant.session.number, grant.epoch.incarnation, grant.epoch.counter);
  if (state_ == MachineState::kRunning) ResumeVcpus();
  return {};
}

}  // namespace gemel
