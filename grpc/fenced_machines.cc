#include "grpc/fenced_machines.h"

#include <utility>

#include "base/log.h"

namespace gemel::daemon {
namespace {

using cluster::Process;

// A process without a fence is none of the cluster's: nothing is known of when it stops. One with
// requests in flight may have some that its kernel has not begun: it is told of again without them.
Process ProcessOf(const std::optional<FenceState>& fence) {
  if (!fence) return {Process::State::kRunning, {}, {}};
  Process::State state = Process::State::kRunning;
  if (fence->latched && fence->in_flight == 0) state = Process::State::kLatched;
  if (fence->conflicted) state = Process::State::kConflicted;
  return {state, fence->session, fence->epoch};
}

}  // namespace

void FencedMachines::Add(ClusterVm vm, const VmUid& uid) {
  uids_[vm] = uid;
  vms_[uid] = vm;
}

void FencedMachines::Remove(ClusterVm vm) {
  if (const auto found = uids_.find(vm); found != uids_.end()) {
    vms_.erase(found->second);
    uids_.erase(found);
  }
  timers_.erase(vm);
  starting_.erase(vm);
}

Process FencedMachines::Adopted(const AdoptedVm& found) {
  if (found.state == AdoptedVm::State::kLive) {
    // Its daemon ended in the middle of its start: nobody else will go on with that. Its end is told.
    const bool begun =
        found.info.state == gemel::VmState::kRunning || found.info.state == gemel::VmState::kPaused;
    if (!begun) static_cast<void>(outside_.supervisor->Kill(found.uid));
    return ProcessOf(found.info.fence);
  }
  if (found.state == AdoptedVm::State::kEnded)
    static_cast<void>(outside_.supervisor->Release(found.uid));
  return {};
}

bool FencedMachines::OnVmEvent(const VmUid& uid, const VmEvent& event) {
  const auto found = vms_.find(uid);
  if (found == vms_.end()) return false;
  if (std::holds_alternative<VmEnded>(event)) Gone(found->second);
  if (const auto* latched = std::get_if<VmLatched>(&event))
    Tell(found->second, ProcessOf(latched->fence));
  return true;
}

// ---- its start ----------------------------------------------------------------------------------

void FencedMachines::Start(ClusterVm vm, Grant grant) {
  const std::uint64_t life = ++lives_[vm];
  starting_[vm] = {life, std::move(grant)};
  outside_.prepare(vm, [this, alive = std::weak_ptr(alive_), vm, life](Result<VmStart> start) {
    if (alive.expired()) return;
    // Of one that was made void, what was opened for it closes here.
    Starting* const starting = Current(vm, life);
    if (starting != nullptr && !starting->begun) Launch(vm, *starting, std::move(start));
  });
}

FencedMachines::Starting* FencedMachines::Current(ClusterVm vm, std::uint64_t life) {
  const auto found = starting_.find(vm);
  return found == starting_.end() || found->second.life != life ? nullptr : &found->second;
}

void FencedMachines::Post(ClusterVm vm, std::function<void()> task) {
  outside_.loop->Post(
      [this, alive = std::weak_ptr(alive_), vm, life = lives_[vm], task = std::move(task)] {
        if (!alive.expired() && lives_[vm] == life) task();
      });
}

void FencedMachines::Launch(ClusterVm vm, Starting& starting, Result<VmStart> start) {
  if (!start) {
    // Not from within the call that asked for it.
    return Post(vm, [this, vm, life = starting.life, error = start.error()] {
      if (Current(vm, life) == nullptr) return;
      Failed(vm, error);
      GoneLater(vm);
    });
  }
  starting.begun = true;
  const Process process{Process::State::kConflicted, starting.grant.session, starting.grant.epoch};
  start->fence = GrantOf(vm, std::move(starting.grant));
  outside_.supervisor->Start(std::move(*start),
                             [this, alive = std::weak_ptr(alive_), vm, life = starting.life,
                              process](const Status& status) {
                               if (alive.expired() || Current(vm, life) == nullptr)
                                 return;  // its end was told
                               const Starting ended = std::move(starting_.extract(vm).mapped());
                               OnStarted(vm, ended, process, status);
                             });
}

void FencedMachines::OnStarted(ClusterVm vm, const Starting& starting, const Process& process,
                               const Status& status) {
  if (starting.killed) {
    if (!status) return Gone(vm);
    static_cast<void>(outside_.supervisor->Kill(uids_.at(vm)));  // its end is told
    return;
  }
  if (status) {
    if (outside_.on_begun) outside_.on_begun(vm);
    if (starting.stopped) Stop(vm);
    return;
  }
  Failed(vm, status.error());
  // Storage refused it: only under another epoch may it be tried again.
  if (status.error().code == Code::kAborted) return Tell(vm, process);
  GoneLater(vm);
}

// ---- while it is there --------------------------------------------------------------------------

void FencedMachines::Resume(ClusterVm vm, Grant grant) {
  outside_.supervisor->ResumeUnder(uids_.at(vm), GrantOf(vm, std::move(grant)),
                                   [this, alive = std::weak_ptr(alive_), vm](const Status& status) {
                                     if (alive.expired() || status) return;
                                     Failed(vm, status.error());
                                     AskWhatItIs(vm);
                                   });
}

cluster::FenceGrant FencedMachines::GrantOf(ClusterVm vm, Grant grant) const {
  cluster::FenceGrant full;
  full.page = std::move(grant.page);
  full.session = grant.session;
  full.epoch = grant.epoch;
  SetIdentity(outside_.identity, vm, full);
  return full;
}

void FencedMachines::Stop(ClusterVm vm) {
  if (const auto found = starting_.find(vm); found != starting_.end()) {
    if (!found->second.begun) return Kill(vm);
    found->second.stopped = true;
    return;
  }
  const VmUid uid = uids_.at(vm);
  const auto off = [this, uid] { outside_.supervisor->PowerOff(uid, [](const Status&) {}); };
  const std::int64_t patience = outside_.patience_ms ? outside_.patience_ms(vm) : kStopMs;
  if (patience == 0) return off();
  outside_.supervisor->PowerButton(uid, [](const Status&) {});
  if (!timers_[vm].Start(outside_.loop, patience, off)) off();
}

void FencedMachines::Kill(ClusterVm vm) {
  if (const auto found = starting_.find(vm); found != starting_.end()) {
    if (found->second.begun) {
      found->second.killed = true;
      // At once, where it can be; its start's answer says when nothing of it is left.
      static_cast<void>(outside_.supervisor->Kill(uids_.at(vm)));
      return;
    }
    starting_.erase(found);
    return Post(vm, [this, vm] { Gone(vm); });
  }
  const Status killed = outside_.supervisor->Kill(uids_.at(vm));
  if (killed) return;
  Post(vm, [this, vm, error = killed.error()] {
    if (error.code == Code::kNotFound) return Gone(vm);
    Failed(vm, error);
  });
}

void FencedMachines::Tell(ClusterVm vm, const Process& process) {
  outside_.on_process(vm, process);
}

void FencedMachines::Failed(ClusterVm vm, const Error& error) {
  LOG(kError, "cluster", "machine {}: {}", vm, error.message);
  if (outside_.on_failure) outside_.on_failure(vm, error);
}

// Nothing of it is left, so that it can be started again.
void FencedMachines::Gone(ClusterVm vm) {
  if (!uids_.contains(vm)) return;
  timers_.erase(vm);
  starting_.erase(vm);
  static_cast<void>(outside_.supervisor->Release(uids_.at(vm)));
  Tell(vm, {});
}

// A start that failed is tried again by whoever hears of it, which is not to happen a hundred times a
// second.
void FencedMachines::GoneLater(ClusterVm vm) {
  const Status timed = timers_[vm].Start(outside_.loop, kRetryMs, [this, vm] { Gone(vm); });
  if (!timed) Gone(vm);
}

// A resume that was refused, or not answered: only the process itself knows. One that does not
// answer this either is taken to run, until its end is told.
void FencedMachines::AskWhatItIs(ClusterVm vm) {
  outside_.supervisor->GetInfo(
      uids_.at(vm), [this, alive = std::weak_ptr(alive_), vm](const Result<VmInfo>& info) {
        if (alive.expired()) return;
        if (info) return Tell(vm, ProcessOf(info->fence));
        if (info.error().code == Code::kNotFound) Gone(vm);
      });
}

}  // namespace gemel::daemon
