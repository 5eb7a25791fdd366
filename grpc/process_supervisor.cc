#include "grpc/process_supervisor.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <utility>

#include "base/load_le.h"
#include "base/log.h"
#include "base/thread.h"
#include "grpc/vm_statistics.h"
#include "launch/hint.h"

namespace gemel::daemon {
namespace {

constexpr int kConfigureTimeoutMs = 120'000;  // it reads the kernel, from whatever storage
constexpr int kRequestTimeoutMs = 10'000;
constexpr std::size_t kMostUidBytes = 36;

std::unexpected<Error> NoSuchVm(const VmUid& uid) {
  return MakeError(Code::kNotFound, uid + ": no such VM lives");
}

// What the command line shows as a second line.
Error WithoutZero(Error error) {
  const auto [message, hint] = launch::SplitHint(error.message);
  if (!hint.empty()) return {error.code, fmt::format("{} ({})", message, hint)};
  return error;
}

// What a VM needs as long as it lives stays when we go.
void LeaveBehind(launch::RunFiles& files) {
  files.serial_socket.Keep();
  files.vsock_socket.Keep();
  for (launch::CreatedFile& socket : files.net_sockets) socket.Keep();
  for (launch::CreatedFile& socket : files.channel_sockets) socket.Keep();
  for (launch::UserNetProcess& net : files.user_nets)
    if (net.process.alive()) net.process.LetGo();
  for (launch::ChildProcess& dialer : files.iscsi_dialers)
    if (dialer.alive()) dialer.LetGo();
}

}  // namespace

Result<std::unique_ptr<ProcessSupervisor>> ProcessSupervisor::Create(SupervisorOptions options,
                                                                     EventLoop* loop,
                                                                     VmEventCallback on_event) {
  signal(SIGPIPE, SIG_IGN);
  // One folder has one name, by which jails are found.
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(options.run_dir.c_str(), nullptr),
                                                         std::free);
  if (!real) return ErrnoError(errno, options.run_dir);
  options.run_dir = real.get();
  std::unique_ptr<ProcessSupervisor> supervisor(
      new ProcessSupervisor(std::move(options), loop, std::move(on_event)));
  const std::string& vms = supervisor->vms_dir_;
  if (mkdir(vms.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoError(errno, vms);
  ASSIGN_OR_RETURN(supervisor->worker_loop_, EventLoop::Create());
  ASSIGN_OR_RETURN(
      supervisor->worker_,
      StartThread("supervisor", [raw = supervisor->worker_loop_.get()] { raw->Run(); }));
  return supervisor;
}

ProcessSupervisor::ProcessSupervisor(SupervisorOptions options, EventLoop* loop,
                                     VmEventCallback on_event)
    : options_(std::move(options)),
      vms_dir_(options_.run_dir + "/vms"),
      cgroups_(options_.cgroup_parent),
      loop_(loop),
      on_event_(std::move(on_event)),
      alive_(std::make_shared<ProcessSupervisor*>(this)) {}

ProcessSupervisor::~ProcessSupervisor() {
  if (worker_.joinable()) {
    worker_loop_->Stop();
    worker_.join();
  }
  for (auto& [uid, vm] : vms_) LeaveBehind(vm.files);
}

void ProcessSupervisor::Later(std::function<void()> task) {
  loop_->Post([weak = std::weak_ptr(alive_), task = std::move(task)] {
    if (const auto alive = weak.lock()) task();
  });
}

// ---- starting -----------------------------------------------------------------------------------

Status ProcessSupervisor::CheckStart(const VmStart& start) const {
  if (start.uid.empty() || start.uid.size() > kMostUidBytes ||
      start.uid.find_first_not_of("0123456789abcdef-") != start.uid.npos)
    return InvalidArgument("uid: {}: not a UUID", start.uid);
  if (vms_.contains(start.uid))
    return MakeError(Code::kAlreadyExists, start.uid + ": lives, or was not released");
  return {};
}

void ProcessSupervisor::Start(VmStart start, DoneCallback done) {
  if (const Status checked = CheckStart(start); !checked)
    return Later([done = std::move(done), checked] { done(checked); });
  const VmUid uid = start.uid;
  Vm& vm = vms_[uid];
  vm.start_done = std::move(done);
  const std::string cgroup = cgroups_.Create(uid);
  vm.limits_missing = cgroups_.Apply(uid, start.limits);
  // Shared, since closures are copied; only one of them uses it.
  auto box = std::make_shared<VmStart>(std::move(start));
  InBackground([this, uid, cgroup, box] {
    auto launched = std::make_shared<Result<LaunchedVm>>(
        LaunchVm(std::move(*box), FolderOf(uid), cgroup, options_.programs));
    Later([this, uid, launched] { OnLaunched(uid, std::move(*launched)); });
  });
}

void ProcessSupervisor::OnLaunched(const VmUid& uid, Result<LaunchedVm> launched) {
  if (!launched) return FailStart(uid, std::move(launched).error());
  Vm& vm = vms_.at(uid);
  vm.files = std::move(launched->files);
  vm.process = std::make_unique<VmProcess>(loop_, FolderOf(uid), std::move(launched->jail));
  if (const Status begun = vm.process->Begin(OwnerFor(uid)); !begun)
    return AbortStart(uid, begun.error());
  if (vm.start_error) return vm.process->Terminate();  // it was killed meanwhile
  vm.process->Request(
      std::move(launched->request), kConfigureTimeoutMs,
      [this, uid](Result<ControlReply> reply) { OnConfigured(uid, std::move(reply)); });
}

void ProcessSupervisor::OnConfigured(const VmUid& uid, Result<ControlReply> reply) {
  if (!reply) return AbortStart(uid, std::move(reply).error());
  vms_.at(uid).process->Request(
      StartRequest{}, kRequestTimeoutMs,
      [this, uid](Result<ControlReply> started) { OnStarted(uid, std::move(started)); });
}

void ProcessSupervisor::OnStarted(const VmUid& uid, Result<ControlReply> reply) {
  if (!reply) return AbortStart(uid, std::move(reply).error());
  Vm& vm = vms_.at(uid);
  vm.state = State::kLive;
  vm.vmm = std::max(VmmOf(vm.process->jail_pid()), 0);
  std::exchange(vm.start_done, nullptr)({});
}

// Its end is what finishes it: only then nothing is left.
void ProcessSupervisor::AbortStart(const VmUid& uid, Error error) {
  Vm& vm = vms_.at(uid);
  if (!vm.start_error) {
    vm.start_error = std::move(error);
    vm.said_why = vm.process && vm.process->reachable();
  }
  if (vm.process) vm.process->Terminate();
}

void ProcessSupervisor::FailStart(const VmUid& uid, Error error) {
  const DoneCallback done = std::move(vms_.at(uid).start_done);
  cgroups_.Remove(uid);
  vms_.erase(uid);
  done(std::unexpected(WithoutZero(std::move(error))));
}

// ---- while it lives -----------------------------------------------------------------------------

VmProcess::Owner ProcessSupervisor::OwnerFor(const VmUid& uid) {
  return {
      .on_event = [this, uid](const ControlEvent& event) { OnEvent(uid, event); },
      .on_unreachable = [this, uid](std::string reason) { OnUnreachable(uid, std::move(reason)); },
      .on_end = [this, uid](VmExit exit) { OnEnd(uid, std::move(exit)); },
  };
}

Result<ProcessSupervisor::Vm*> ProcessSupervisor::Live(const VmUid& uid) {
  const auto found = vms_.find(uid);
  if (found == vms_.end() || found->second.state != State::kLive) return NoSuchVm(uid);
  return &found->second;
}

void ProcessSupervisor::Ask(const VmUid& uid, ControlRequestBody body, DoneCallback done) {
  const auto vm = Live(uid);
  if (!vm)
    return Later([done = std::move(done), error = vm.error()] { done(std::unexpected(error)); });
  (*vm)->process->Request(std::move(body), kRequestTimeoutMs,
                          [done = std::move(done)](const Result<ControlReply>& reply) {
                            done(reply ? Status() : Status(std::unexpected(reply.error())));
                          });
}

void ProcessSupervisor::PowerButton(const VmUid& uid, DoneCallback done) {
  Ask(uid, PowerButtonRequest{}, std::move(done));
}
void ProcessSupervisor::Reset(const VmUid& uid, DoneCallback done) {
  Ask(uid, ResetRequest{}, std::move(done));
}
void ProcessSupervisor::Pause(const VmUid& uid, DoneCallback done) {
  Ask(uid, PauseRequest{}, std::move(done));
}
void ProcessSupervisor::Resume(const VmUid& uid, DoneCallback done) {
  Ask(uid, ResumeRequest{}, std::move(done));
}
void ProcessSupervisor::ResumeUnder(const VmUid& uid, cluster::FenceGrant fence,
                                    DoneCallback done) {
  Ask(uid, ResumeUnderRequest{std::move(fence)}, std::move(done));
}
void ProcessSupervisor::SetLink(const VmUid& uid, const std::string& device, bool up,
                                DoneCallback done) {
  Ask(uid, SetLinkRequest{device, up}, std::move(done));
}
void ProcessSupervisor::SetBalloon(const VmUid& uid, std::uint64_t bytes, DoneCallback done) {
  Ask(uid, SetBalloonRequest{bytes}, std::move(done));
}

// It is off in the end, whether its process answers or not.
void ProcessSupervisor::PowerOff(const VmUid& uid, DoneCallback done) {
  const auto vm = Live(uid);
  if (!vm)
    return Later([done = std::move(done), error = vm.error()] { done(std::unexpected(error)); });
  (*vm)->process->PowerOff([done = std::move(done)](const Result<ControlReply>&) { done({}); });
}

Status ProcessSupervisor::Kill(const VmUid& uid) {
  if (const auto found = vms_.find(uid);
      found != vms_.end() && found->second.state == State::kStarting) {
    AbortStart(uid, {Code::kCancelled, "it was ended before its guest ran"});
    return {};
  }
  ASSIGN_OR_RETURN(Vm* const vm, Live(uid));
  vm->process->Terminate();
  return {};
}

void ProcessSupervisor::AskInfo(const VmUid& uid, InfoCallback done) {
  const auto vm = Live(uid);
  if (!vm)
    return Later([done = std::move(done), error = vm.error()] { done(std::unexpected(error)); });
  (*vm)->process->Request(GetInfoRequest{}, kRequestTimeoutMs,
                          [done = std::move(done)](Result<ControlReply> reply) {
                            if (!reply) return done(std::unexpected(std::move(reply).error()));
                            done(std::move(reply->info).value_or(VmInfo{}));
                          });
}

void ProcessSupervisor::GetInfo(const VmUid& uid, InfoCallback done) {
  AskInfo(uid, std::move(done));
}

void ProcessSupervisor::GetStatistics(const VmUid& uid,
                                      std::function<void(Result<VmStatistics>)> done) {
  AskInfo(uid, [this, uid, done = std::move(done)](Result<VmInfo> info) {
    const auto vm = Live(uid);
    if (!info || !vm) return done(std::unexpected(!info ? info.error() : vm.error()));
    done(GatherStatistics(*info, (*vm)->vmm, cgroups_.MemoryInUse(uid)));
  });
}

pid_t ProcessSupervisor::Pid(const VmUid& uid) const {
  const auto found = vms_.find(uid);
  return found == vms_.end() || found->second.state != State::kLive ? 0 : found->second.vmm;
}

void ProcessSupervisor::MeasureOverhead(const VmUid& uid, std::function<void(std::uint64_t)> done) {
  InBackground([this, pid = Pid(uid), done = std::move(done)] {
    Later([done, bytes = pid == 0 ? 0 : ResidentBesideGuest(pid)] { done(bytes); });
  });
}

Status ProcessSupervisor::SetLimits(const VmUid& uid, const VmLimits& limits) {
  ASSIGN_OR_RETURN(Vm* const vm, Live(uid));
  vm->limits_missing = cgroups_.Apply(uid, limits);
  return {};
}

Result<VmLimitsInForce> ProcessSupervisor::Limits(const VmUid& uid) {
  ASSIGN_OR_RETURN(Vm* const vm, Live(uid));
  VmLimitsInForce in_force = cgroups_.Read(uid);
  in_force.missing = vm->limits_missing;
  return in_force;
}

Result<UniqueFd> ProcessSupervisor::AttachConsole(const VmUid& uid, std::uint64_t from) {
  ASSIGN_OR_RETURN(Vm* const vm, Live(uid));
  ASSIGN_OR_RETURN(UniqueFd socket, vm->process->folder().Connect(kConsoleSocket, SOCK_STREAM));
  std::array<std::byte, 8> request;
  StoreLe(std::span(request), 0, from);
  // A new socket has room for these.
  if (send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size()))
    return ErrnoError(errno, "console");
  return socket;
}

Result<UniqueFd> ProcessSupervisor::LastConsole(const VmUid& uid) {
  const auto found = vms_.find(uid);
  if (found == vms_.end() || found->second.state != State::kEnded)
    return MakeError(Code::kNotFound, uid + ": no such VM has ended");
  return FolderOf(uid).OpenFile(kConsoleFile);
}

void ProcessSupervisor::OnEvent(const VmUid& uid, const ControlEvent& event) {
  const auto* hello = std::get_if<HelloEvent>(&event);
  if (hello != nullptr && hello->version != kControlVersion)
    LOG(kWarning, "supervisor", "{}: gemel-vmm {} speaks version {} of the control protocol", uid,
        hello->build, hello->version);
  if (std::holds_alternative<ResetDoneEvent>(event)) on_event_(uid, VmWasReset{});
  if (const auto* trouble = std::get_if<DiskErrorEvent>(&event))
    on_event_(uid, VmDiskError{trouble->device, trouble->reason, trouble->count});
  if (const auto* latched = std::get_if<LatchedEvent>(&event))
    on_event_(uid, VmLatched{latched->fence});
}

void ProcessSupervisor::OnUnreachable(const VmUid& uid, std::string reason) {
  const Vm& vm = vms_.at(uid);
  if (vm.state == State::kLive) return on_event_(uid, VmUnreachable{std::move(reason)});
  if (vm.state != State::kAdopting) return;
  AdoptedVm adopted;
  adopted.uid = uid;
  adopted.state = AdoptedVm::State::kLive;
  adopted.info.state = VmState::kRunning;  // as far as anybody knows
  adopted.info.notes.push_back("its process cannot be reached: " + reason);
  FinishAdoption(uid, std::move(adopted));
}

// ---- its end ------------------------------------------------------------------------------------

void ProcessSupervisor::OnEnd(const VmUid& uid, VmExit exit) {
  Vm& vm = vms_.at(uid);
  // The jail may be the one that the kernel chose; then it left no record of the machine's end.
  const bool killed = exit.cause == VmExitCause::kKilled || exit.cause == VmExitCause::kLost;
  if (killed && cgroups_.OutOfMemoryKills(uid) > 0)
    exit.reason += ": the kernel ended it for want of memory (its limit, or the host's)";
  const State before = vm.state;
  vm.exit = std::move(exit);
  vm.state = State::kEnded;
  vm.process.reset();
  vm.files = {};
  cgroups_.Remove(uid);
  if (before == State::kStarting) {
    Error error = vm.start_error.value_or(
        Error{Code::kInternal, "it ended before its guest ran: " + vm.exit.reason});
    // What its process could not say, its end does.
    if (!vm.said_why && (error.code == Code::kUnavailable || error.code == Code::kNotFound))
      error = {Code::kInternal, "it ended before its guest ran: " + vm.exit.reason};
    CleanUp(uid);
    return FailStart(uid, std::move(error));
  }
  if (before == State::kAdopting)
    return FinishAdoption(uid, {uid, AdoptedVm::State::kEnded, {}, vm.exit});
  on_event_(uid, VmEnded{vm.exit});
}

void ProcessSupervisor::CleanUp(const VmUid& uid) {
  cgroups_.Remove(uid);
  if (const Status removed = FolderOf(uid).Remove(); !removed)
    LOG_UNLIMITED(kWarning, "supervisor", "{}", removed.error().message);
}

Status ProcessSupervisor::Release(const VmUid& uid) {
  const auto found = vms_.find(uid);
  if (found == vms_.end()) return {};
  if (found->second.state != State::kEnded) return FailedPrecondition("{}: lives", uid);
  vms_.erase(found);
  CleanUp(uid);
  return {};
}

}  // namespace gemel::daemon
