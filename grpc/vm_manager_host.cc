// The host itself: that it goes down, and what becomes of its health.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "grpc/resource_name.h"
#include "grpc/vm_manager.h"

namespace gemel::daemon {
namespace {

// However long a machine's spec lets its guest take.
constexpr std::int64_t kLongestHostStopMs = 300'000;

}  // namespace

// ---- the host goes down

void VmManager::StopWithHost(std::function<void()> done) {
  if (host_stop_) return;
  host_stop_.emplace().done = std::move(done);
  for (auto& [name, vm] : vms_) {
    if (!IsClusters(vm) && vm.process == Process::kRunning && !vm.off_asked) AskToStop(vm);
  }
  LOG_UNLIMITED(kInfo, "manager",
                "the host goes down: {} guests are asked to switch themselves off",
                host_stop_->waits.size());
  StoppedWithHost("");
}

void VmManager::AskToStop(Vm& vm) {
  const VmUid uid = vm.stored.vm.uid();
  host_stop_->waits.insert(uid);
  Batch batch;
  AddEvent(batch, v1::EVENT_TYPE_SHUTDOWN_REQUESTED, vm.stored.vm, "HOST_STOPS",
           "the host goes down", Pending(vm, "Shutdown"));
  static_cast<void>(Commit(std::move(batch)));  // logged; the guest is asked in any case
  const auto alive = std::weak_ptr(alive_);
  const std::int64_t timeout = vm.stored.vm.spec().shutdown_timeout().seconds() * 1000;
  timers_->After(std::min(timeout, kLongestHostStopMs), [this, alive, uid] {
    if (alive.expired() || !host_stop_->waits.contains(uid)) return;
    LOG(kWarning, "manager", "{}: has not switched itself off in time, and goes with the host",
        uid);
    StoppedWithHost(uid);
  });
  if (std::exchange(vm.button_pressed, true)) return;
  supervisor_->PowerButton(uid, [this, alive, uid](const Status& status) {
    if (alive.expired() || status) return;
    LOG(kWarning, "manager", "{}: power button: {}", uid, status.error().message);
    StoppedWithHost(uid);
  });
}

void VmManager::StoppedWithHost(const VmUid& uid) {
  if (!host_stop_) return;
  host_stop_->waits.erase(uid);
  if (!host_stop_->waits.empty() || !host_stop_->done) return;
  std::exchange(host_stop_->done, nullptr)();
}

// ---- its health

Status VmManager::TellNode(const v1::HealthCondition& condition) {
  constexpr std::string_view kEnumPrefix = "NODE_HEALTH_";
  v1::VirtualMachine named;  // what AddEvent takes of a resource
  named.set_name("nodes/" + options_.node);
  const std::string& word = v1::NodeHealth_Name(condition.health());
  Batch batch;
  AddEvent(batch, v1::EVENT_TYPE_NODE_CHANGED, named,
           "CONDITION_" + word.substr(std::min(kEnumPrefix.size(), word.size())),
           condition.message().empty()
               ? condition.condition()
               : fmt::format("{}: {}", condition.condition(), condition.message()));
  return Commit(std::move(batch));
}

}  // namespace gemel::daemon
