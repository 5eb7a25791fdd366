// The processes of the cluster's machines: what ClusterManager wants done, as calls of the supervisor,
// and what the supervisor tells, as what the rules know of a process. The supervisor's thread.
//
// A start takes time: what the machine is started with is prepared, then its process begins. Whatever ends
// it meanwhile makes it void: what was prepared comes to nobody, and a process that has begun is ended.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "base/event_loop.h"
#include "base/timer.h"
#include "grpc/cluster_disks.h"
#include "grpc/cluster_manager.h"
#include "grpc/vm_supervisor.h"

namespace gemel::daemon {

class FencedMachines : public ClusterMachines {
 public:
  using Prepared = std::function<void(Result<VmStart> start)>;
  struct Outside {
    EventLoop* loop = nullptr;
    VmSupervisor* supervisor = nullptr;
    // What a machine is, all but its fence; always with the same uid. Answered once, now or later. What
    // is made for it on this node lasts until `on_process` says that there is no process.
    std::function<void(ClusterVm vm, Prepared done)> prepare;
    std::function<void(ClusterVm vm, const cluster::Process& process)> on_process;
    std::function<void(ClusterVm vm, const Error& error)> on_failure;  // for people; may be empty
    ClusterIdentity identity = {};                                     // for its disks on targets
    // Its guest runs under the grant that was given last. May be empty.
    std::function<void(ClusterVm vm)> on_begun = {};
    // How long a guest has to switch itself off; 0: it is not asked. Empty: kStopMs.
    std::function<std::int64_t(ClusterVm vm)> patience_ms = {};
  };
  // What is asked of a guest that shall stop; after so long it is switched off.
  static constexpr std::int64_t kStopMs = 30'000;
  static constexpr std::int64_t kRetryMs = 500;  // after a start that failed

  // What `outside` names outlives it.
  explicit FencedMachines(Outside outside) : outside_(std::move(outside)) {}

  // Which machine that uid is. Before anything else of it.
  void Add(ClusterVm vm, const VmUid& uid);
  // Forgets one of which no process is left.
  void Remove(ClusterVm vm);
  // What an earlier daemon left of it: for ClusterManager::Add. One that ended is released.
  cluster::Process Adopted(const AdoptedVm& found);
  // Whether the event was of a machine of the cluster.
  bool OnVmEvent(const VmUid& uid, const VmEvent& event);

  void Start(ClusterVm vm, Grant grant) override;
  void Resume(ClusterVm vm, Grant grant) override;
  void Stop(ClusterVm vm) override;
  void Kill(ClusterVm vm) override;

 private:
  // A start that is under way.
  struct Starting {
    std::uint64_t life = 0;
    Grant grant;
    bool begun = false;    // it has a process, or is about to
    bool killed = false;   // which shall end
    bool stopped = false;  // or be stopped once its guest runs
  };

  void Launch(ClusterVm vm, Starting& starting, Result<VmStart> start);
  void OnStarted(ClusterVm vm, const Starting& starting, const cluster::Process& process,
                 const Status& status);
  Starting* Current(ClusterVm vm, std::uint64_t life);
  // Later, if no other start has begun by then.
  void Post(ClusterVm vm, std::function<void()> task);
  void Tell(ClusterVm vm, const cluster::Process& process);
  void Failed(ClusterVm vm, const Error& error);
  void Gone(ClusterVm vm);
  void GoneLater(ClusterVm vm);
  void AskWhatItIs(ClusterVm vm);
  cluster::FenceGrant GrantOf(ClusterVm vm, Grant grant) const;

  Outside outside_;
  std::map<ClusterVm, VmUid> uids_;
  std::map<VmUid, ClusterVm> vms_;
  std::map<ClusterVm, Timer> timers_;  // the end of its patience, or of a failed start
  std::map<ClusterVm, Starting> starting_;
  std::map<ClusterVm, std::uint64_t> lives_;  // of each, how many starts there were
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gemel::daemon
