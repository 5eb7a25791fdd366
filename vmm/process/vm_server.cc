#include "vmm/process/vm_server.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "vmm/process/last_words.h"
#include "vmm/sandbox/sandbox.h"

namespace gemel {
namespace {

// How long a controller may leave its socket full, and a console reader the guest's last output
// unread.
constexpr int kSendTimeoutMs = 2000;
constexpr int kSerialDrainMs = 2000;
// The reader of a console on stdio may be slow or stopped, and still misses nothing of a guest that
// ended by itself. Being told to power off cuts this short by the controller's SIGKILL.
constexpr int kConsoleDrainMs = 600'000;
// A daemon that has started us and died before it connected has lost us.
constexpr int kPatienceSeconds = 30;

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

VmState ToVmState(MachineState state) {
  switch (state) {
    case MachineState::kBuilt:
      return VmState::kConfigured;
    case MachineState::kRunning:
    case MachineState::kResetting:
      return VmState::kRunning;
    case MachineState::kPaused:
      return VmState::kPaused;
    case MachineState::kOff:
      return VmState::kStopped;
  }
  return VmState::kStopped;
}

MachineFds TakeFds(ConfigureRequest& request) {
  MachineFds fds;
  fds.kvm = std::move(request.kvm);
  fds.kernel = std::move(request.kernel);
  fds.initrd = std::move(request.initrd);
  fds.disks = std::move(request.disks);
  fds.nets = std::move(request.nets);
  fds.vsock_listener = std::move(request.vsock_listener);
  fds.vsock_dialer = std::move(request.vsock_dialer);
  fds.console_in = std::move(request.console_in);
  fds.console_out = std::move(request.console_out);
  fds.channels = std::move(request.channels);
  fds.serial_in = std::move(request.serial_in);
  fds.serial_out = std::move(request.serial_out);
  fds.fence = std::move(request.fence);
  return fds;
}

BalloonInfo ToBalloonInfo(const virtio::BalloonState& state) {
  BalloonInfo info;
  info.target = state.target;
  info.actual = state.actual;
  info.reported = state.reported;
  info.statistics_age_ms = state.statistics_age_ms;
  for (std::size_t tag = 0; tag < state.statistics.size(); ++tag)
    if (state.statistics[tag])
      info.statistics[static_cast<std::uint32_t>(tag)] = *state.statistics[tag];
  return info;
}

FenceState ToFenceState(const MachineFence& fence) {
  return {fence.session, fence.epoch, fence.latched, fence.conflicted, fence.in_flight};
}

}  // namespace

Result<std::unique_ptr<VmServer>> VmServer::Create(std::unique_ptr<ControllerSeat> seat,
                                                   EventLoop* loop, Sandbox sandbox,
                                                   int report_fd) {
  std::unique_ptr<VmServer> server(
      new VmServer(std::move(seat), loop, std::move(sandbox), report_fd));
  VmServer* const raw = server.get();
  if (raw->seat_->for_many()) RETURN_IF_ERROR(raw->WaitForTheFirst());
  RETURN_IF_ERROR(raw->seat_->Begin({
      .on_request = [raw](ControlRequest request) { raw->Handle(std::move(request)); },
      .on_seated = [raw] { raw->OnSeated(); },
      .on_left = [raw] { raw->OnControllerGone(); },
  }));
  return server;
}

VmServer::~VmServer() {
  if (patience_) loop_->Unwatch(patience_.get());
}

Status VmServer::WaitForTheFirst() {
  patience_.Reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  itimerspec when{};
  when.it_value.tv_sec = kPatienceSeconds;
  if (!patience_ || timerfd_settime(patience_.get(), 0, &when, nullptr) != 0)
    return ErrnoError(errno, "control: timer");
  return loop_->Watch(patience_.get(), EPOLLIN, [this](std::uint32_t) { OnControllerGone(); });
}

void VmServer::OnSeated() {
  if (patience_) loop_->Unwatch(patience_.get());
  patience_.Reset();
  reset_request_.reset();
  HelloEvent hello;
  hello.build = GEMEL_VERSION;
  hello.pid = static_cast<std::uint32_t>(getpid());
  Send(EncodeEvent(hello));
}

// Whoever started this machine is gone, and with it the console and everybody who could stop it;
// unless another may come.
void VmServer::OnControllerGone() {
  reset_request_.reset();
  const bool built = machine_ != nullptr;
  if (seat_->for_many() && built) return;
  if (told_to_end_) return;
  told_to_end_ = true;
  if (!built) SayLastWords(report_fd_, "not-configured", "");
  if (built && machine_->state() != MachineState::kOff) {
    LOG_UNLIMITED(kInfo, "control", "the controller is gone: powering off");
    machine_->PowerOff();
  }
  exit_status_ = 1;
  loop_->Stop();
}

void VmServer::Handle(ControlRequest request) {
  const std::uint64_t id = request.id;
  if (std::holds_alternative<GetInfoRequest>(request.body)) return ReplyWithInfo(id);
  // Replied to before the event that follows it, whose sending ends the conversation.
  if (std::holds_alternative<PowerOffRequest>(request.body)) {
    const auto running = machine();
    Reply(id, running ? Status{} : Status(std::unexpected(running.error())));
    told_to_end_ = true;
    if (running) (*running)->PowerOff();
    return;
  }
  const bool configures = std::holds_alternative<ConfigureRequest>(request.body);
  const Status status = Carry(id, std::move(request.body));
  if (configures && status) return ReplyWithInfo(id);
  if (!(status && reset_request_)) Reply(id, status);
}

Status VmServer::Carry(std::uint64_t id, ControlRequestBody body) {
  if (auto* configure = std::get_if<ConfigureRequest>(&body))
    return Configure(std::move(*configure));
  if (auto* rejected = std::get_if<RejectedRequest>(&body)) return std::unexpected(rejected->error);
  ASSIGN_OR_RETURN(Machine* const built, machine());
  return std::visit(Overloaded{
                        [&](const StartRequest&) { return Start(); },
                        [&](const PowerButtonRequest&) { return built->PressPowerButton(); },
                        [&](const SleepButtonRequest&) { return built->PressSleepButton(); },
                        [&](const SetLinkRequest& r) { return built->SetLink(r.device, r.up); },
                        [&](const PauseRequest&) { return built->Pause(); },
                        [&](const ResumeRequest&) { return built->Resume(); },
                        [&](const ResumeUnderRequest& r) { return built->ResumeUnder(r.fence); },
                        [&](const SetBalloonRequest& r) { return SetBalloon(*built, r.size); },
                        [&](const ResetRequest&) -> Status {
                          RETURN_IF_ERROR(built->Reset());
                          reset_request_ = id;
                          seat_->Hold();
                          return {};
                        },
                        [](const auto&) { return Status(Internal("request handled elsewhere")); },
                    },
                    body);
}

Status VmServer::Configure(ConfigureRequest request) {
  if (machine_ != nullptr) return FailedPrecondition("configure: this VM is configured already");
  const std::string missing = MissingLayers(sandbox_.layers);
  if (sandbox_.mode == SandboxMode::kRequired && !missing.empty())
    return FailedPrecondition("sandbox: required: this host does not give {}", missing);
  SetLogName(request.config.name);
  SetLogLevel(request.log_level);
  config_ = request.config;
  locks_ = std::move(request.locks);
  ASSIGN_OR_RETURN(machine_, Machine::Build(config_, TakeFds(request), loop_, this));
  return {};
}

Status VmServer::Start() {
  if (machine_->state() == MachineState::kPaused) return machine_->Resume();
  RETURN_IF_ERROR(machine_->Start());
  Send(EncodeEvent(RunningEvent{}));
  return {};
}

Result<Machine*> VmServer::machine() const {
  if (machine_ == nullptr) return FailedPrecondition("this VM is not configured yet");
  return machine_.get();
}

Status VmServer::SetBalloon(Machine& built, std::uint64_t size) const {
  if (built.balloon() == nullptr) return FailedPrecondition("balloon: this VM has none");
  if (size > config_.memory.size)
    return InvalidArgument("balloon: {}: more than the memory, {}", size, config_.memory.size);
  built.balloon()->SetTarget(size);
  return {};
}

VmInfo VmServer::Info() const {
  VmInfo info;
  info.sandbox_mode = sandbox_.mode;
  info.sandbox = sandbox_.layers;
  if (machine_ == nullptr) return info;
  info.state = ToVmState(machine_->state());
  info.cpus = config_.cpus;
  info.memory = config_.memory.size;
  for (MachineDevice& device : machine_->devices()) {
    info.devices.push_back({std::move(device.name), std::move(device.kind), device.address,
                            device.irq, device.queues, device.queue_size, std::move(device.engine),
                            std::move(device.note), std::move(device.counters),
                            std::move(device.place)});
  }
  if (machine_->balloon() != nullptr) info.balloon = ToBalloonInfo(machine_->balloon()->Poll());
  if (const auto fence = machine_->fence()) info.fence = ToFenceState(*fence);
  info.resets = machine_->resets();
  for (MachineVcpu& vcpu : machine_->vcpus())
    info.vcpus.push_back({vcpu.cpu_ns, std::move(vcpu.exits)});
  return info;
}

void VmServer::Reply(std::uint64_t id, const Status& status) {
  ControlReply reply;
  reply.id = id;
  if (!status) reply.error = status.error();
  Send(EncodeReply(reply));
}

void VmServer::ReplyWithInfo(std::uint64_t id) {
  ControlReply reply;
  reply.id = id;
  reply.info = Info();
  Send(EncodeReply(reply));
}

void VmServer::Send(const ControlMessage& message) { seat_->Send(message, kSendTimeoutMs); }

// The last words come first: who hears the event may kill us.
void VmServer::End(const Ending& ending) {
  SayLastWords(report_fd_, ending.word, ending.reason);
  const bool patient = !told_to_end_ && config_.serial.kind == SerialConfig::Kind::kStdio;
  machine_->DrainSerial(patient ? kConsoleDrainMs : kSerialDrainMs);
  Send(EncodeEvent(ending.event));
  exit_status_ = ending.exit_status;
  loop_->Stop();
}

// Threads, rings and interrupts are there; next come the kernel and the initrd, which may be made
// to break their loader.
void VmServer::OnAssembled() {
  if (sandbox_.mode != SandboxMode::kOff) sandbox::ConfineThread(ThreadRole::kMain);
}

void VmServer::OnPoweredOff() {
  End({PoweredOffEvent{}, 0, told_to_end_ ? "powered-off" : "guest-powered-off", ""});
}

void VmServer::OnRebootExit() { End({RebootRequestedEvent{}, 0, "guest-rebooted", ""}); }

void VmServer::OnResetDone() {
  if (const auto id = std::exchange(reset_request_, std::nullopt)) {
    Reply(*id, {});
    seat_->Continue();
  }
  Send(EncodeEvent(ResetDoneEvent{}));
}

void VmServer::OnCrashed(const std::string& reason, const std::string& report) {
  LOG_UNLIMITED(kError, "machine", "{}\n{}", reason, report);
  End({CrashedEvent{reason, report, CrashedEvent::Kind::kMachine}, 1, "crashed", reason});
}

void VmServer::OnTripleFault(const std::string& reason, const std::string& report) {
  LOG_UNLIMITED(kError, "machine", "{}\n{}", reason, report);
  End({CrashedEvent{reason, report, CrashedEvent::Kind::kTripleFault}, 1, "triple-fault", reason});
}

void VmServer::OnDiskTrouble(const std::string& device, const virtio::BlkTrouble& trouble) {
  Send(EncodeEvent(DiskErrorEvent{device, trouble.what, trouble.count}));
}

void VmServer::OnLatched(const MachineFence& fence) {
  Send(EncodeEvent(LatchedEvent{ToFenceState(fence)}));
}

void VmServer::OnPanicked() {
  const std::string reason = "the guest's kernel panicked";
  End({CrashedEvent{reason, "", CrashedEvent::Kind::kPanic}, 1, "guest-panicked", reason});
}

}  // namespace gemel
