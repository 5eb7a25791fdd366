#include "cli/run_session.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "cli/balloon_text.h"
#include "cli/exit_status.h"
#include "cli/report.h"
#include "vmm/config/parse.h"

namespace gemel::cli {
namespace {

constexpr int kSendTimeoutMs = 5000;
constexpr std::int64_t kPowerOffGraceMs = 5000;  // from "power off" to SIGKILL
constexpr int kMessagesATurn = 32;
constexpr std::int64_t kExitGraceMs = 30'000;  // from the end of the conversation to SIGKILL
constexpr std::int64_t kForegroundCheckMs = 300;

// Without those that our parent has us ignore (nohup; a shell's background jobs).
sigset_t RunSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT}) {
    struct sigaction now{};
    if (sigaction(number, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) continue;
    sigaddset(&set, number);
  }
  return set;
}

// Whether what gemel-vmm refused is for the user to put right.
bool IsWrongInput(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
    case Code::kNotFound:
    case Code::kAlreadyExists:
    case Code::kPermissionDenied:
    case Code::kFailedPrecondition:
    case Code::kOutOfRange:
    case Code::kUnimplemented:
      return true;
    default:
      return false;
  }
}

}  // namespace

void BlockRunSignals() {
  const sigset_t set = RunSignals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

RunSession::RunSession(RunOptions options, launch::RunFiles files, launch::VmmProcess vmm,
                       ControlChannel channel, std::unique_ptr<EventLoop> loop)
    : options_(std::move(options)),
      files_(std::move(files)),
      vmm_(std::move(vmm)),
      channel_(std::move(channel)),
      loop_(std::move(loop)),
      terminal_(STDIN_FILENO) {}

int RunSession::Run() {
  if (const Status begun = Begin(); !begun) {
    PrintError(begun.error());
    return kFailed;
  }
  while (phase_ != Phase::kEnded) loop_->RunOnce(-1);
  terminal_.Restore();
  return outcome_.value_or(kFailed);
}

Status RunSession::Begin() {
  RETURN_IF_ERROR(WatchSignals());
  RETURN_IF_ERROR(loop_->Watch(channel_->fd(), EPOLLIN, [this](std::uint32_t) { OnControl(); }));
  RETURN_IF_ERROR(loop_->Watch(vmm_.pidfd(), EPOLLIN, [this](std::uint32_t) { OnVmmExit(); }));
  RETURN_IF_ERROR(WatchUserNets());
  if (options_.timeout_ms)
    RETURN_IF_ERROR(timeout_.Start(loop_.get(), *options_.timeout_ms, [this] { OnTimeout(); }));
  if (files_.vsock_dialer) {
    ASSIGN_OR_RETURN(dialer_, VsockDialer::Create(std::move(files_.vsock_dialer),
                                                  options_.config.vsock->path, loop_.get()));
  }
  files_.request.log_level = options_.log_level;
  // Our copies of the descriptors end with the request: what is locked is the VM's from here on.
  configure_id_ = Request(std::exchange(files_.request, {}));
  return {};
}

Status RunSession::WatchSignals() {
  const sigset_t set = RunSignals();
  signals_.Reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return ErrnoError(errno, "signalfd");
  return loop_->Watch(signals_.get(), EPOLLIN, [this](std::uint32_t) { OnSignals(); });
}

Status RunSession::WatchUserNets() {
  for (launch::UserNetProcess& net : files_.user_nets)
    RETURN_IF_ERROR(loop_->Watch(net.process.pidfd(), EPOLLIN,
                                 [this, &net](std::uint32_t) { OnUserNetExit(net); }));
  return {};
}

// A failed send needs no answer of its own: a gemel-vmm that is gone says so by its end.
std::uint64_t RunSession::Request(ControlRequestBody body) {
  const std::uint64_t id = ++last_id_;
  if (!channel_) return id;
  const Status sent = channel_->Send(EncodeRequest({id, std::move(body)}), kSendTimeoutMs);
  if (!sent && sent.error().code != Code::kAborted) Fail(sent.error(), kFailed);
  return id;
}

// ---- what gemel-vmm says ------------------------------------------------------------------------

void RunSession::OnControl() {
  // A few at a time, so that a flood of them keeps neither signals nor the time-out waiting.
  ReceiveAtMost(kMessagesATurn);
}

void RunSession::ReceiveAtMost(int count) {
  for (; channel_ && count > 0; --count) {
    Result<Received> received = channel_->Receive();
    if (received && received->state == Received::State::kNothing) return;
    if (!received || received->state == Received::State::kClosed) {
      if (!received) Fail(received.error(), kFailed);
      loop_->Unwatch(channel_->fd());
      channel_.reset();
      // It should end by itself now; it must.
      if (vmm_.alive()) (void)kill_timer_.Start(loop_.get(), kExitGraceMs, [this] { vmm_.Kill(); });
      return;
    }
    const Result<FromVmm> said = DecodeFromVmm(std::move(received->message));
    if (!said) return Fail(said.error(), kFailed);
    if (const auto* reply = std::get_if<ControlReply>(&*said)) OnReply(*reply);
    if (const auto* event = std::get_if<ControlEvent>(&*said)) OnEvent(*event);
  }
}

void RunSession::OnReply(const ControlReply& reply) {
  if (reply.error.code != Code::kOk) {
    if (reply.id == configure_id_ || reply.id == start_id_)
      return Fail(reply.error, IsWrongInput(reply.error.code) ? kWrongInput : kFailed);
    return PrintNote(reply.error.message);
  }
  if (reply.id == configure_id_) {
    if (reply.info) ShowMissingWalls(*reply.info);
    OnConfigured();
  }
  if (reply.id == info_id_ && reply.info) ShowInfo(*reply.info);
  if (reply.id == balloon_id_ && reply.info) AskForBalloon(*reply.info);
}

void RunSession::OnConfigured() {
  if (phase_ != Phase::kConfiguring) return;
  phase_ = Phase::kRunning;  // what is asked from here on comes to the VMM after Start
  files_.serial_file.Keep();
  if (files_.serial_overwrite && ftruncate(files_.serial_overwrite.get(), 0) != 0)
    return Fail(ErrnoError(errno, "serial: truncate").error(), kFailed);
  files_.serial_overwrite.Reset();
  if (!files_.pty_path.empty()) PrintNote("serial: " + files_.pty_path);
  if (options_.log_level == LogLevel::kDebug) info_id_ = Request(GetInfoRequest{});
  if (files_.console_out) {
    output_done_ = false;
    output_.emplace(
        std::move(files_.console_out), loop_.get(),
        [this] {
          output_done_ = true;
          EndIfDone();
        },
        [] { PrintNote("stdout is closed: what the guest prints is lost from here on"); });
    input_.emplace(&terminal_, std::move(files_.console_in), loop_.get(),
                   EscapeMenu(options_.config.balloon.has_value()),
                   [this](const EscapeMenu::Step& step) { OnMenu(step); });
    TakeTerminal();
  }
  start_id_ = Request(StartRequest{});
}

// Whoever has turned the sandbox off knows.
void RunSession::ShowMissingWalls(const VmInfo& info) const {
  const std::string missing = MissingLayers(info.sandbox);
  if (info.sandbox_mode != SandboxMode::kOff && !missing.empty())
    PrintNote("sandbox: without " + missing);
}

void RunSession::ShowInfo(const VmInfo& info) const {
  PrintNote(fmt::format("{}: {}, {} CPUs, {}, UUID {}", options_.config.name,
                        options_.config.machine, info.cpus, FormatSize(info.memory),
                        FormatUuid(options_.config.identity.uuid)));
  for (const DeviceInfo& device : info.devices) {
    const std::string place = device.place.empty()
                                  ? fmt::format("{:#x}, IRQ {}", device.address, device.irq)
                                  : fmt::format("PCI {}", device.place);
    PrintNote(fmt::format("{}: {} at {}, {} queues of {}{}{}{}{}", device.name, device.kind, place,
                          device.queues, device.queue_size, device.engine.empty() ? "" : ", ",
                          device.engine, device.note.empty() ? "" : ": ", device.note));
    std::string counters;
    for (const auto& [name, value] : device.counters)
      counters += fmt::format(" {}={}", name, value);
    if (!counters.empty()) PrintNote(fmt::format("{}:{}", device.name, counters));
  }
  if (info.balloon)
    for (const std::string& line : BalloonText(*info.balloon)) PrintNote(line);
  for (const std::string& note : info.notes) PrintNote(note);
  PrintNote("sandbox: " + (info.sandbox_mode == SandboxMode::kOff ? std::string("off")
                                                                  : ActiveLayers(info.sandbox)));
}

void RunSession::OnEvent(const ControlEvent& event) {
  if (const auto* hello = std::get_if<HelloEvent>(&event)) {
    if (hello->version == kControlVersion) return;
    return Fail(Error{Code::kFailedPrecondition,
                      fmt::format("gemel-vmm: speaks version {} of the control protocol, not {}: "
                                  "from another installation?",
                                  hello->version, kControlVersion)},
                kFailed);
  }
  if (std::holds_alternative<PoweredOffEvent>(event) ||
      std::holds_alternative<RebootRequestedEvent>(event)) {
    if (!outcome_) outcome_ = kDone;
  }
  if (const auto* crashed = std::get_if<CrashedEvent>(&event)) OnCrashed(*crashed);
  if (const auto* serial = std::get_if<SerialInfoEvent>(&event))
    PrintNote("serial: " + serial->path);
}

// gemel-vmm has logged the report to the stderr that it shares with us.
void RunSession::OnCrashed(const CrashedEvent& event) {
  PrintError({Code::kInternal, fmt::format("{}: {}", options_.config.name, event.reason)});
  if (!outcome_) outcome_ = event.kind == CrashedEvent::Kind::kPanic ? kGuestPanicked : kFailed;
}

// ---- what the user wants ------------------------------------------------------------------------

void RunSession::OnSignals() {
  signalfd_siginfo info{};
  while (read(signals_.get(), &info, sizeof info) == sizeof info) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGTSTP)
      OnSuspend();
    else if (signal == SIGCONT)
      TakeTerminal();
    else
      OnStopRequest(signal);
  }
}

// First the power button, then off, then the axe.
void RunSession::OnStopRequest(int signal) {
  ++stop_requests_;
  if (!vmm_.alive() || phase_ == Phase::kConfiguring) {
    if (!outcome_) outcome_ = kSignalled + signal;
    vmm_.Kill();
    // Only a reader of stdout that does not read can hold us up now.
    if (!vmm_.alive()) phase_ = Phase::kEnded;
    return;
  }
  if (signal == SIGQUIT && stop_requests_ == 1) stop_requests_ = 2;
  if (stop_requests_ == 1) return PressPowerButton(strsignal(signal));
  if (stop_requests_ == 2) return PowerOffNow(strsignal(signal));
  if (!outcome_) outcome_ = kSignalled + signal;
  vmm_.Kill();
}

void RunSession::PressPowerButton(std::string_view why) {
  Request(PowerButtonRequest{});
  PrintNote(fmt::format("{}: power button pressed; once more to power off", why));
}

void RunSession::PowerOffNow(std::string_view why) {
  if (phase_ == Phase::kStopping) return;
  phase_ = Phase::kStopping;
  Request(PowerOffRequest{});
  (void)kill_timer_.Start(loop_.get(), kPowerOffGraceMs, [this] { vmm_.Kill(); });
  PrintNote(fmt::format("{}: power off", why));
}

void RunSession::OnTimeout() {
  if (!vmm_.alive()) return;
  if (outcome_) return vmm_.Kill();  // it said that it has ended, and has not
  outcome_ = kTimedOut;
  if (phase_ != Phase::kConfiguring) return PowerOffNow("timeout");
  PrintNote("timeout: killed before it ran");
  vmm_.Kill();
}

void RunSession::OnMenu(const EscapeMenu::Step& step) {
  switch (step.action) {
    case EscapeMenu::Action::kQuit:
      return PowerOffNow("Ctrl-] q");
    case EscapeMenu::Action::kPowerButton:
      PrintNote("Ctrl-] p: power button pressed");
      Request(PowerButtonRequest{});
      return;
    case EscapeMenu::Action::kSleepButton:
      PrintNote("Ctrl-] s: sleep button pressed");
      Request(SleepButtonRequest{});
      return;
    case EscapeMenu::Action::kReset:
      PrintNote("Ctrl-] r: reset");
      Request(ResetRequest{});
      return;
    case EscapeMenu::Action::kLink:
      return ToggleLinks();
    case EscapeMenu::Action::kInfo:
      info_id_ = Request(GetInfoRequest{});
      return;
    case EscapeMenu::Action::kHelp:
    case EscapeMenu::Action::kUnknown:
      return PrintNote(EscapeMenu::Help());
    default:
      return OnBalloonLine(step);
  }
}

// ---- the balloon --------------------------------------------------------------------------------

void RunSession::OnBalloonLine(const EscapeMenu::Step& step) {
  switch (step.action) {
    case EscapeMenu::Action::kNoBalloon:
      return PrintNote("Ctrl-] b: this VM has no balloon: --balloon on");
    case EscapeMenu::Action::kAskBalloon:
      balloon_id_ = Request(GetInfoRequest{});
      return;
    case EscapeMenu::Action::kEcho:
      return PrintTyped(std::string_view(&step.byte, 1));
    case EscapeMenu::Action::kErase:
      return PrintTyped("\b \b");
    case EscapeMenu::Action::kCancel:
      return PrintTyped("\n");
    case EscapeMenu::Action::kSetBalloon:
      PrintTyped("\n");
      return SetBalloon(step.line);
    default:
      return;
  }
}

void RunSession::AskForBalloon(const VmInfo& info) const {
  if (!info.balloon) return;
  for (const std::string& line : BalloonText(*info.balloon)) PrintNote(line);
  PrintPrompt("balloon: how much shall the guest give up (Enter: as it is)? ");
}

void RunSession::SetBalloon(std::string_view text) {
  if (text.empty()) return;
  const auto size = ParseSize("balloon", text);
  if (!size) return PrintNote(size.error().message);
  PrintNote(fmt::format("balloon: {} asked for", FormatSize(*size)));
  Request(SetBalloonRequest{*size});
}

void RunSession::ToggleLinks() {
  links_up_ = !links_up_;
  PrintNote(fmt::format("Ctrl-] l: network cables {}", links_up_ ? "plugged in" : "pulled"));
  for (std::size_t i = 0; i < options_.config.nets.size(); ++i)
    Request(SetLinkRequest{fmt::format("net{}", i), links_up_});
}

// ---- the terminal -------------------------------------------------------------------------------

void RunSession::OnSuspend() {
  if (input_) input_->Suspend();
  terminal_.Restore();
  raise(SIGSTOP);
  TakeTerminal();  // continued
}

// Raw and read if it is ours; else looks again later, since nobody tells a job that it has become
// the terminal's.
void RunSession::TakeTerminal() {
  if (!input_) return;
  if (terminal_.is_terminal() && !terminal_.in_foreground()) {
    input_->Suspend();
    (void)foreground_timer_.Start(loop_.get(), kForegroundCheckMs, [this] { TakeTerminal(); });
    return;
  }
  terminal_.EnterRaw();
  input_->Resume();
}

// ---- the end ------------------------------------------------------------------------------------

void RunSession::OnVmmExit() {
  ReceiveAtMost(INT_MAX);  // what it said last
  loop_->Unwatch(vmm_.pidfd());
  const pid_t pid = vmm_.pid();
  const launch::ExitState exit = vmm_.Reap();
  if (input_) input_->Suspend();
  // A VMM that fails after the guest has powered off has failed all the same.
  const bool clean = exit.signal == 0 && exit.status == 0;
  if (!outcome_ || (*outcome_ == kDone && !clean)) outcome_ = StatusOf(pid, exit);
  EndIfDone();
}

// Status 0: the VM has closed its end. Otherwise the VM has seen it too, and goes on without.
void RunSession::OnUserNetExit(launch::UserNetProcess& net) {
  loop_->Unwatch(net.process.pidfd());
  const pid_t pid = net.process.pid();
  const int status = net.process.Reap();
  if (status == 0) return;
  PrintNote(fmt::format("{}: gemel-slirp (process {}) {}: the link is down", net.device, pid,
                        launch::DescribeEnd(status)));
}

int RunSession::StatusOf(pid_t pid, const launch::ExitState& exit) const {
  const std::string who = fmt::format("{}: gemel-vmm (process {})", options_.config.name, pid);
  if (!exit.failed.empty()) {
    PrintError({Code::kInternal, fmt::format("{}: gemel-vmm was not started: {}",
                                             options_.config.name, exit.failed)});
  } else if (exit.signal == SIGSYS && !exit.refused.empty()) {
    PrintError(WithHint(
        {Code::kInternal, fmt::format("{} was killed by its sandbox for a system call that is not "
                                      "on the list of its thread: {}",
                                      who, exit.refused)},
        "a guest that took it over, or a bug of ours: please report it"));
  } else if (exit.signal != 0) {
    PrintError({Code::kInternal, fmt::format("{} was killed by signal {} ({})", who, exit.signal,
                                             strsignal(exit.signal))});
  } else {
    PrintError({Code::kInternal,
                fmt::format("{} ended with status {} without saying why", who, exit.status)});
  }
  return kFailed;
}

// The error is the outcome, and the VM ends.
void RunSession::Fail(const Error& error, int status) {
  if (!outcome_) {
    PrintError(error);
    outcome_ = status;
  }
  vmm_.Kill();
}

void RunSession::EndIfDone() {
  if (!vmm_.alive() && output_done_) phase_ = Phase::kEnded;
}

}  // namespace gemel::cli
