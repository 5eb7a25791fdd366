// The VmSupervisor with real processes: a gemel-jail with a gemel-vmm in it for each VM, found again
// by the name in its command line (process_table.h) and by its folder (vm_folder.h).
//
// What may wait (files, locks, spawning, reading /proc) is done on a thread of its own, one thing
// after the other.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "grpc/process_table.h"
#include "grpc/vm_cgroup.h"
#include "grpc/vm_folder.h"
#include "grpc/vm_launch.h"
#include "grpc/vm_process.h"
#include "grpc/vm_supervisor.h"
#include "launch/vmm_process.h"

namespace gemel::daemon {

struct SupervisorOptions {
  std::string run_dir;        // exists; this daemon's alone
  std::string cgroup_parent;  // as VmCgroups
  launch::VmmPrograms programs;
};

class ProcessSupervisor final : public VmSupervisor {
 public:
  // `loop` outlives it. Blocks SIGPIPE in the process.
  static Result<std::unique_ptr<ProcessSupervisor>> Create(SupervisorOptions options,
                                                           EventLoop* loop,
                                                           VmEventCallback on_event);
  ~ProcessSupervisor() override;

  void Adopt(std::vector<VmUid> expected, AdoptionCallback done) override;
  void Start(VmStart start, DoneCallback done) override;
  void PowerButton(const VmUid& uid, DoneCallback done) override;
  void PowerOff(const VmUid& uid, DoneCallback done) override;
  void Reset(const VmUid& uid, DoneCallback done) override;
  void Pause(const VmUid& uid, DoneCallback done) override;
  void Resume(const VmUid& uid, DoneCallback done) override;
  void ResumeUnder(const VmUid& uid, cluster::FenceGrant fence, DoneCallback done) override;
  void SetLink(const VmUid& uid, const std::string& device, bool up, DoneCallback done) override;
  void SetBalloon(const VmUid& uid, std::uint64_t bytes, DoneCallback done) override;
  void GetInfo(const VmUid& uid, InfoCallback done) override;
  Status SetLimits(const VmUid& uid, const VmLimits& limits) override;
  Result<VmLimitsInForce> Limits(const VmUid& uid) override;
  pid_t Pid(const VmUid& uid) const override;
  void MeasureOverhead(const VmUid& uid, std::function<void(std::uint64_t)> done) override;
  void GetStatistics(const VmUid& uid, std::function<void(Result<VmStatistics>)> done) override;
  Result<UniqueFd> AttachConsole(const VmUid& uid, std::uint64_t from) override;
  Result<UniqueFd> LastConsole(const VmUid& uid) override;
  Status Release(const VmUid& uid) override;
  Status Kill(const VmUid& uid) override;

 private:
  enum class State : std::uint8_t { kStarting, kAdopting, kLive, kEnded };
  struct Vm {
    State state = State::kStarting;
    std::unique_ptr<VmProcess> process;  // but while it is launched, and after its end
    pid_t vmm = 0;                       // once it is live; 0: not known
    std::vector<std::string> limits_missing;
    launch::RunFiles files;  // sockets and helpers that live as long as it
    VmExit exit;             // of kEnded
    // kStarting
    DoneCallback start_done;
    std::optional<Error> start_error;
    bool said_why = false;  // start_error is its process's own word
    // kAdopting
    std::function<void(AdoptedVm)> adopted;
    bool never_ran = false;
  };
  struct AdoptionInProgress;
  struct FoundVm {
    VmUid uid;
    bool folder = false;
    std::optional<VmProcess::Jail> jail;
  };
  struct Findings {
    std::vector<FoundVm> vms;
    std::vector<std::string> orphans;
  };

  ProcessSupervisor(SupervisorOptions options, EventLoop* loop, VmEventCallback on_event);
  VmFolder FolderOf(const VmUid& uid) const { return VmFolder(vms_dir_ + "/" + uid); }
  void Later(std::function<void()> task);
  // On the other thread.
  void InBackground(std::function<void()> task) { worker_loop_->Post(std::move(task)); }

  // ---- starting
  Status CheckStart(const VmStart& start) const;
  void OnLaunched(const VmUid& uid, Result<LaunchedVm> launched);
  void OnConfigured(const VmUid& uid, Result<ControlReply> reply);
  void OnStarted(const VmUid& uid, Result<ControlReply> reply);
  void AbortStart(const VmUid& uid, Error error);
  void FailStart(const VmUid& uid, Error error);

  // ---- adopting (supervisor_adoption.cc)
  // The next four on the other thread.
  bool SomebodyBegins(const std::map<std::string, JailProcess>& jails) const;
  std::map<std::string, JailProcess> FindAllJails() const;
  Findings LookAround(const std::vector<VmUid>& expected) const;
  std::string RemoveOrphan(const std::string& uid, const JailProcess* jail) const;
  void OnFound(Findings findings, AdoptionCallback done);
  void AdoptOne(FoundVm found, std::function<void(AdoptedVm)> done);
  void OnAdoptedInfo(const VmUid& uid, Result<ControlReply> reply);
  void FinishAdoption(const VmUid& uid, AdoptedVm adopted);

  // ---- while it lives
  VmProcess::Owner OwnerFor(const VmUid& uid);
  Result<Vm*> Live(const VmUid& uid);
  void Ask(const VmUid& uid, ControlRequestBody body, DoneCallback done);
  void AskInfo(const VmUid& uid, InfoCallback done);
  void OnEvent(const VmUid& uid, const ControlEvent& event);
  void OnUnreachable(const VmUid& uid, std::string reason);
  void OnEnd(const VmUid& uid, VmExit exit);
  void CleanUp(const VmUid& uid);

  const SupervisorOptions options_;
  const std::string vms_dir_;
  const VmCgroups cgroups_;
  EventLoop* const loop_;
  const VmEventCallback on_event_;
  std::map<VmUid, Vm> vms_;
  const std::shared_ptr<ProcessSupervisor*> alive_;
  std::unique_ptr<EventLoop> worker_loop_;
  std::thread worker_;
};

}  // namespace gemel::daemon
