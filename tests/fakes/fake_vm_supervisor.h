// A VmSupervisor without processes: VMs are records, and a test decides how they end, what fails and
// when answers come. On the thread of its loop, as the real one.
#pragma once
#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "grpc/vm_supervisor.h"

namespace gemel::testing {

class FakeVmSupervisor final : public daemon::VmSupervisor {
 public:
  using VmUid = daemon::VmUid;
  static constexpr pid_t kPid = 4711;  // of each VM that lives

  struct Vm {
    MachineConfig config;
    daemon::VmLimits limits;
    VmState state = VmState::kRunning;
    std::optional<daemon::VmExit> exit;  // it has ended
    std::map<std::string, bool> links;
    std::uint64_t balloon = 0;
    daemon::VmStatistics statistics = {};
    std::optional<FenceState> fence = {};
  };

  // `loop` outlives it.
  FakeVmSupervisor(EventLoop* loop, daemon::VmEventCallback on_event)
      : loop_(loop), on_event_(std::move(on_event)) {}

  // ---- for tests
  const std::vector<std::string>& calls() const { return calls_; }  // "Start <uid>", in order
  std::map<VmUid, Vm>& vms() { return vms_; }
  const std::map<VmUid, Vm>& vms() const { return vms_; }
  void FailNext(Error error) { next_error_ = std::move(error); }  // the next call with a `done`
  // Answers wait for ReleaseAnswers; false again lets later ones come at once.
  void HoldAnswers(bool hold) { hold_ = hold; }
  void ReleaseAnswers() {
    while (!held_.empty()) {
      loop_->Post(std::move(held_.front()));
      held_.pop_front();
    }
  }
  // As if its process had ended like this.
  void End(const VmUid& uid, daemon::VmExit exit) {
    vms_.at(uid).exit = exit;
    Tell(uid, daemon::VmEnded{std::move(exit)});
  }
  void Tell(const VmUid& uid, daemon::VmEvent event) {
    loop_->Post([this, uid, event = std::move(event)] { on_event_(uid, event); });
  }
  // As if it had latched, with nothing in flight.
  void Latch(const VmUid& uid, bool conflicted = false) {
    FenceState& fence = vms_.at(uid).fence.value();
    fence.latched = true;
    fence.conflicted = conflicted;
    Tell(uid, daemon::VmLatched{fence});
  }
  // A VM that an earlier daemon left: for Adopt.
  void Leave(const VmUid& uid, Vm vm) { vms_[uid] = std::move(vm); }

  // ---- VmSupervisor
  void Adopt(std::vector<VmUid> expected, daemon::AdoptionCallback done) override {
    calls_.emplace_back("Adopt");
    daemon::Adoption found;
    for (const VmUid& uid : expected) found.vms.push_back(Describe(uid));
    for (auto it = vms_.begin(); it != vms_.end();) {
      const bool known = std::find(expected.begin(), expected.end(), it->first) != expected.end();
      if (!known) found.orphans.push_back(it->first);
      it = known ? std::next(it) : vms_.erase(it);
    }
    Answer([done = std::move(done), found = std::move(found), error = TakeError()] {
      done(error ? Result<daemon::Adoption>(std::unexpected(*error))
                 : Result<daemon::Adoption>(found));
    });
  }

  void Start(daemon::VmStart start, daemon::DoneCallback done) override {
    Status status = Note("Start", start.uid);
    if (status && vms_.contains(start.uid))
      status = MakeError(Code::kAlreadyExists, start.uid + ": known already");
    if (status)
      vms_[start.uid] = Vm{start.config, start.limits, VmState::kRunning, {}, {}, 0, {}, {}};
    if (status && start.fence)
      vms_[start.uid].fence = FenceState{start.fence->session, start.fence->epoch};
    Finish(std::move(done), std::move(status));
  }
  void PowerButton(const VmUid& uid, daemon::DoneCallback done) override {
    Finish(std::move(done), Live("PowerButton", uid));
  }
  void PowerOff(const VmUid& uid, daemon::DoneCallback done) override {
    const Status status = Live("PowerOff", uid);
    Finish(std::move(done), status);
    if (status) End(uid, {daemon::VmExitCause::kPoweredOff, 0, 0, "powered off", 1});
  }
  void Reset(const VmUid& uid, daemon::DoneCallback done) override {
    const Status status = Live("Reset", uid);
    Finish(std::move(done), status);
    if (status) Tell(uid, daemon::VmWasReset{});
  }
  void Pause(const VmUid& uid, daemon::DoneCallback done) override {
    Change("Pause", uid, VmState::kRunning, VmState::kPaused, std::move(done));
  }
  void Resume(const VmUid& uid, daemon::DoneCallback done) override {
    Change("Resume", uid, VmState::kPaused, VmState::kRunning, std::move(done));
  }
  void ResumeUnder(const VmUid& uid, cluster::FenceGrant grant,
                   daemon::DoneCallback done) override {
    Status status = Live("ResumeUnder", uid);
    if (status) status = Renew(uid, grant);
    Finish(std::move(done), std::move(status));
  }
  void SetLink(const VmUid& uid, const std::string& device, bool up,
               daemon::DoneCallback done) override {
    const Status status = Live("SetLink", uid);
    if (status) vms_[uid].links[device] = up;
    Finish(std::move(done), status);
  }
  void SetBalloon(const VmUid& uid, std::uint64_t bytes, daemon::DoneCallback done) override {
    const Status status = Live("SetBalloon", uid);
    if (status) vms_[uid].balloon = bytes;
    Finish(std::move(done), status);
  }
  void GetInfo(const VmUid& uid, daemon::InfoCallback done) override {
    const Status status = Live("GetInfo", uid);
    Result<VmInfo> info = status ? Result<VmInfo>(Describe(uid).info)
                                 : Result<VmInfo>(std::unexpected(status.error()));
    Answer([done = std::move(done), info = std::move(info)] { done(info); });
  }
  Status SetLimits(const VmUid& uid, const daemon::VmLimits& limits) override {
    RETURN_IF_ERROR(Live("SetLimits", uid));
    vms_[uid].limits = limits;
    return {};
  }
  Result<daemon::VmLimitsInForce> Limits(const VmUid& uid) override {
    RETURN_IF_ERROR(Live("Limits", uid));
    const daemon::VmLimits& asked = vms_[uid].limits;
    daemon::VmLimitsInForce in_force;
    in_force.cgroup = "/sys/fs/cgroup/gemel/" + uid;
    in_force.cpu_weight = asked.cpu_weight;
    in_force.cpu_cap_milli = asked.cpu_cap_milli;
    in_force.memory = asked.memory;
    in_force.io_weight = asked.io_weight;
    in_force.cpus = asked.cpus;
    return in_force;
  }
  pid_t Pid(const VmUid& uid) const override {
    const auto found = vms_.find(uid);
    return found == vms_.end() || found->second.exit ? 0 : kPid;
  }
  void MeasureOverhead(const VmUid&, std::function<void(std::uint64_t)> done) override {
    Answer([done = std::move(done)] { done(3 << 20); });
  }
  void GetStatistics(const VmUid& uid,
                     std::function<void(Result<daemon::VmStatistics>)> done) override {
    const Status status = Live("GetStatistics", uid);
    const auto statistics = status ? vms_[uid].statistics : daemon::VmStatistics{};
    Answer([done = std::move(done), status, statistics] {
      done(status ? Result<daemon::VmStatistics>(statistics)
                  : Result<daemon::VmStatistics>(std::unexpected(status.error())));
    });
  }
  Result<UniqueFd> AttachConsole(const VmUid& uid, std::uint64_t) override {
    RETURN_IF_ERROR(Live("AttachConsole", uid));
    if (!console_) return FailedPrecondition("{}: this test has given no console", uid);
    return std::move(console_);
  }
  Result<UniqueFd> LastConsole(const VmUid& uid) override {
    return MakeError(Code::kNotFound, uid + ": no such VM has ended");
  }
  void GiveConsole(UniqueFd fd) { console_ = std::move(fd); }  // for tests: what Attach hands out
  Status Release(const VmUid& uid) override {
    calls_.push_back("Release " + uid);
    const auto found = vms_.find(uid);
    if (found == vms_.end()) return {};
    if (!found->second.exit) return FailedPrecondition("{}: lives", uid);
    vms_.erase(found);
    return {};
  }
  Status Kill(const VmUid& uid) override {
    RETURN_IF_ERROR(Live("Kill", uid));
    End(uid, {daemon::VmExitCause::kKilled, 0, 9, "killed by signal 9 (Killed)", 1});
    return {};
  }

 private:
  Status Note(const std::string& call, const VmUid& uid) {
    calls_.push_back(call + " " + uid);
    if (auto error = TakeError()) return std::unexpected(std::move(*error));
    return {};
  }
  Status Live(const std::string& call, const VmUid& uid) {
    RETURN_IF_ERROR(Note(call, uid));
    const auto found = vms_.find(uid);
    if (found == vms_.end() || found->second.exit)
      return MakeError(Code::kNotFound, uid + ": no such VM lives");
    return {};
  }
  void Change(const std::string& call, const VmUid& uid, VmState from, VmState to,
              daemon::DoneCallback done) {
    Status status = Live(call, uid);
    if (status && vms_[uid].state != from) status = FailedPrecondition("{}: wrong state", uid);
    if (status) vms_[uid].state = to;
    Finish(std::move(done), std::move(status));
  }
  Status Renew(const VmUid& uid, const cluster::FenceGrant& grant) {
    std::optional<FenceState>& fence = vms_[uid].fence;
    if (!fence || !fence->latched || fence->conflicted)
      return FailedPrecondition("{}: not latched, or refused by storage", uid);
    if (grant.session <= fence->session || grant.epoch <= fence->epoch)
      return FailedPrecondition("{}: no later session and epoch", uid);
    fence = FenceState{grant.session, grant.epoch};
    return {};
  }
  daemon::AdoptedVm Describe(const VmUid& uid) const {
    daemon::AdoptedVm vm;
    vm.uid = uid;
    const auto found = vms_.find(uid);
    if (found == vms_.end()) return vm;
    vm.state =
        found->second.exit ? daemon::AdoptedVm::State::kEnded : daemon::AdoptedVm::State::kLive;
    if (found->second.exit) vm.exit = *found->second.exit;
    vm.info.state = found->second.state;
    vm.info.fence = found->second.fence;
    vm.info.cpus = found->second.config.cpus;
    vm.info.memory = found->second.config.memory.size;
    return vm;
  }
  void Finish(daemon::DoneCallback done, Status status) {
    Answer([done = std::move(done), status = std::move(status)] { done(status); });
  }
  void Answer(std::function<void()> answer) {
    if (hold_)
      held_.push_back(std::move(answer));
    else
      loop_->Post(std::move(answer));
  }
  std::optional<Error> TakeError() { return std::exchange(next_error_, std::nullopt); }

  EventLoop* const loop_;
  const daemon::VmEventCallback on_event_;
  std::map<VmUid, Vm> vms_;
  std::vector<std::string> calls_;
  std::optional<Error> next_error_;
  bool hold_ = false;
  std::deque<std::function<void()>> held_;
  UniqueFd console_;
};

}  // namespace gemel::testing
