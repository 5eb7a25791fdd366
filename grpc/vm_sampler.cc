#include "grpc/vm_sampler.h"

#include <fmt/format.h>

#include <utility>

namespace gemel::daemon {
namespace {

constexpr std::int64_t kFreshNs = 1'000'000'000;
constexpr std::int64_t kPatienceMs = 2000;

bool HasProcess(const v1::VirtualMachine& vm) {
  const auto state = vm.status().state();
  return state == v1::VIRTUAL_MACHINE_STATE_RUNNING || state == v1::VIRTUAL_MACHINE_STATE_PAUSED ||
         state == v1::VIRTUAL_MACHINE_STATE_STOPPING;
}

}  // namespace

VmSampler::~VmSampler() {
  if (beat_) timers_->Cancel(*beat_);
  for (const auto& [id, waiter] : waiters_)
    if (waiter.deadline) timers_->Cancel(*waiter.deadline);
}

void VmSampler::Begin(VmSupervisor* supervisor, VmEventCallback on_event) {
  supervisor_ = supervisor;
  on_event_ = std::move(on_event);
  Beat();
}

void VmSampler::Beat() {
  const std::int64_t now = clock_->MonotonicNow();
  for (auto& [uid, asked] : asked_) {
    // Another process than the one that was asked owes nothing yet.
    if (const pid_t pid = supervisor_->Pid(uid); std::exchange(asked.pid, pid) != pid) {
      asked.since_ns = now;
      silent_.erase(uid);
    }
    const std::int64_t waited_ms = (now - asked.since_ns) / 1'000'000;
    if (waited_ms < heartbeat_ms_ || !silent_.insert(uid).second) continue;
    on_event_(uid,
              VmUnreachable{fmt::format("gemel-vmm has not answered for {} ms", waited_ms), true});
  }
  Look();
  beat_ = timers_->After(heartbeat_ms_, [this] { Beat(); });
}

// Asks all who run, owe no answer and have not just answered; forgets those who do not run.
void VmSampler::Look() {
  std::map<VmUid, std::string> live;
  published_->vms.Visit("", "", [&](const std::string& name, const auto& vm) {
    if (HasProcess(*vm)) live[vm->uid()] = name;
    return true;
  });
  std::erase_if(sampled_, [&](const auto& item) {
    if (live.contains(item.first)) return false;
    published_->samples.Remove(item.second);
    return true;
  });
  std::erase_if(asked_, [&](const auto& item) { return !live.contains(item.first); });
  std::erase_if(silent_, [&](const auto& uid) { return !live.contains(uid); });
  for (const auto& [uid, name] : live) {
    const auto sample = published_->samples.Get(name);
    const bool fresh = sample != nullptr && sample->uid == uid &&
                       clock_->MonotonicNow() - sample->monotonic_ns < kFreshNs;
    if (!fresh) Ask(uid, name);
  }
}

void VmSampler::Ask(const VmUid& uid, const std::string& name) {
  Asked& asked =
      asked_.try_emplace(uid, Asked{name, clock_->MonotonicNow(), false, supervisor_->Pid(uid)})
          .first->second;
  if (std::exchange(asked.answer_due, true)) return;
  supervisor_->GetStatistics(
      uid, [this, uid, alive = std::weak_ptr(alive_)](Result<VmStatistics> answer) {
        if (!alive.expired()) OnAnswer(uid, std::move(answer));
      });
}

void VmSampler::OnAnswer(const VmUid& uid, Result<VmStatistics> answer) {
  const auto found = asked_.find(uid);
  if (found == asked_.end()) return;
  found->second.answer_due = false;
  if (answer) {
    const std::string name = found->second.name;
    asked_.erase(found);
    const auto vm = published_->vms.Get(name);
    if (vm != nullptr && vm->uid() == uid) {
      published_->samples.Put(
          name, {uid, clock_->RealtimeNow(), clock_->MonotonicNow(), std::move(*answer)});
      sampled_[uid] = name;
    }
    if (silent_.erase(uid) > 0) on_event_(uid, VmAnswers{});
  } else if (answer.error().code == Code::kNotFound) {
    asked_.erase(found);  // it has ended, or does not live yet
    silent_.erase(uid);   // and the next one has said nothing yet
  }
  WakeIfDone();
}

void VmSampler::Refresh(std::function<void()> done) {
  Look();
  const std::uint64_t id = next_waiter_++;
  Waiter& waiter = waiters_[id];
  waiter.done = std::move(done);
  waiter.deadline = timers_->After(kPatienceMs, [this, id] {
    waiters_.at(id).deadline.reset();
    Wake(id);
  });
  WakeIfDone();
}

// One that is silent holds nobody up who comes later.
void VmSampler::WakeIfDone() {
  for (const auto& [uid, asked] : asked_)
    if (asked.answer_due && !silent_.contains(uid)) return;
  while (!waiters_.empty()) Wake(waiters_.begin()->first);
}

void VmSampler::Wake(std::uint64_t id) {
  const auto waiter = waiters_.extract(id);
  if (waiter.mapped().deadline) timers_->Cancel(*waiter.mapped().deadline);
  waiter.mapped().done();
}

}  // namespace gemel::daemon
