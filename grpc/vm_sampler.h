// What machines use, kept fresh for those who look: ListStats and /metrics read published samples and
// may have them refreshed. Nobody waits on the manager loop, which only asks and takes answers; a
// machine's process answers from its main thread, so no virtual processor waits either.
//
// It is also the heartbeat: each machine's process is asked regularly, and one that has not answered
// for that long is told of as VmUnreachable, once it does again as VmAnswers. It says that
// gemel-vmm works; of the guest inside it knows nothing.
//
// On the manager loop, but for what is published.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "grpc/timers.h"
#include "grpc/vm_manager.h"
#include "grpc/vm_supervisor.h"

namespace gemel::daemon {

class VmSampler {
 public:
  // All outlive it. `heartbeat_ms`: how often processes are asked, and how long they may take.
  VmSampler(Timers* timers, const Clock* clock, Published* published, std::int64_t heartbeat_ms)
      : timers_(timers), clock_(clock), published_(published), heartbeat_ms_(heartbeat_ms) {}
  ~VmSampler();

  // Once, when the manager has begun.
  void Begin(VmSupervisor* supervisor, VmEventCallback on_event);

  // Calls `done` once, perhaps before it returns: when every machine that runs has answered, or after
  // 2 s. Samples that are younger than 1 s will do.
  void Refresh(std::function<void()> done);

 private:
  struct Asked {
    std::string name;
    std::int64_t since_ns = 0;  // without a sample
    bool answer_due = false;    // else it has failed, and is asked again with the others
    pid_t pid = 0;              // of the process that was asked
  };
  struct Waiter {
    std::function<void()> done;
    std::optional<Timers::Id> deadline;
  };

  void Beat();
  void Look();
  void Ask(const VmUid& uid, const std::string& name);
  void OnAnswer(const VmUid& uid, Result<VmStatistics> answer);
  void WakeIfDone();
  void Wake(std::uint64_t id);

  Timers* const timers_;
  const Clock* const clock_;
  Published* const published_;
  const std::int64_t heartbeat_ms_;
  VmSupervisor* supervisor_ = nullptr;
  VmEventCallback on_event_;
  std::optional<Timers::Id> beat_;
  std::map<VmUid, Asked> asked_;          // and no sample came
  std::set<VmUid> silent_;                // of whom VmUnreachable was told
  std::map<VmUid, std::string> sampled_;  // names that samples are published under
  std::map<std::uint64_t, Waiter> waiters_;
  std::uint64_t next_waiter_ = 1;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gemel::daemon
