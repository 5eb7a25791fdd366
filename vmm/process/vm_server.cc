#include "vmm/process/vm_server.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"
#include "base/log.h"
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

}  // namespace

Result<std::unique_ptr<VmServer>> VmServer::Create(ControlChannel channel, EventLoop* loop,
                                                   Sandbox sandbox) {
  std::unique_ptr<VmServer> server(new VmServer(std::move(channel), loop, std::move(sandbox)));
  HelloEvent hello;
  hello.build = GEMEL_VERSION;
  hello.pid = static_cast<std::uint32_t>(getpid());
  server->Send(EncodeEvent(hello));
  RETURN_IF_ERROR(loop->Watch(server->channel_.fd(), EPOLLIN,
                              [raw = server.get()](std::uint32_t) { raw->OnReadable(); }));
  return server;
}

VmServer::~VmServer() { loop_->Unwatch(channel_.fd()); }

void VmServer::OnReadable() {
  if (reset_request_) return OnControllerGone();  // it is not watched for input now: it hung up
  while (!reset_request_ && !peer_gone_) {
    auto received = channel_.Receive();
    if (!received) {
      LOG_UNLIMITED(kError, "control", "{}", received.error().message);
      return OnControllerGone();
    }
    if (received->state == Received::State::kNothing) return;
    if (received->state == Received::State::kClosed) return OnControllerGone();
    auto request = DecodeRequest(std::move(received->message));
    if (!request) {
      LOG_UNLIMITED(kError, "control", "{}", request.error().message);
      return OnControllerGone();
    }
    Handle(std::move(*request));
  }
}

// Whoever started this machine is gone, and with it the console and everybody who could stop it.
void VmServer::OnControllerGone() {
  if (std::exchange(peer_gone_, true)) return;
  told_to_end_ = true;
  loop_->Unwatch(channel_.fd());
  if (machine_ != nullptr && machine_->state() != MachineState::kOff) {
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
                        [&](const SetLinkRequest& r) { return built->SetLink(r.device, r.up); },
                        [&](const PauseRequest&) { return built->Pause(); },
                        [&](const ResumeRequest&) { return built->Resume(); },
                        [&](const SetBalloonRequest& r) { return SetBalloon(*built, r.size); },
                        [&](const ResetRequest&) -> Status {
                          RETURN_IF_ERROR(built->Reset());
                          reset_request_ = id;
                          return loop_->Modify(channel_.fd(), 0);
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

void VmServer::Send(const ControlMessage& message) {
  if (peer_gone_) return;
  const Status sent = channel_.Send(message, kSendTimeoutMs);
  // A gone peer is found by OnReadable, which runs on the loop and not in the middle of something.
  if (!sent) LOG(kWarning, "control", "{}", sent.error().message);
}

void VmServer::End(const ControlEvent& event, int exit_status) {
  const bool patient = !told_to_end_ && config_.serial.kind == SerialConfig::Kind::kStdio;
  machine_->DrainSerial(patient ? kConsoleDrainMs : kSerialDrainMs);
  Send(EncodeEvent(event));
  exit_status_ = exit_status;
  loop_->Stop();
}

// Threads, rings and interrupts are there; next come the kernel and the initrd, which may be made
// to break their loader.
void VmServer::OnAssembled() {
  if (sandbox_.mode != SandboxMode::kOff) sandbox::ConfineThread(ThreadRole::kMain);
}

void VmServer::OnPoweredOff() { End(PoweredOffEvent{}, 0); }

void VmServer::OnRebootExit() { End(RebootRequestedEvent{}, 0); }

void VmServer::OnResetDone() {
  if (const auto id = std::exchange(reset_request_, std::nullopt)) {
    Reply(*id, {});
    CHECK(peer_gone_ || loop_->Modify(channel_.fd(), EPOLLIN));
  }
  Send(EncodeEvent(ResetDoneEvent{}));
}

void VmServer::OnCrashed(const std::string& reason, const std::string& report) {
  LOG_UNLIMITED(kError, "machine", "{}\n{}", reason, report);
  End(CrashedEvent{reason, report, CrashedEvent::Kind::kMachine}, 1);
}

void VmServer::OnPanicked() {
  End(CrashedEvent{"the guest's kernel panicked", "", CrashedEvent::Kind::kPanic}, 1);
}

}  // namespace gemel
