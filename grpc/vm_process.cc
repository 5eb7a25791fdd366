#include "grpc/vm_process.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "grpc/process_table.h"

namespace gemel::daemon {
namespace {

constexpr std::int64_t kPowerOffGraceMs = 5000;
// A jail that was killed leaves its VM to die with it, which is not instant.
constexpr std::int64_t kLookAgainMs = 20;
constexpr std::int64_t kOrphanGraceMs = 3000;
constexpr std::int64_t kConnectAgainMs = 1000;
constexpr int kMessagesATurn = 32;
constexpr int kPowerOffTimeoutMs = 10'000;

}  // namespace

VmProcess::VmProcess(EventLoop* loop, VmFolder folder, Jail jail)
    : loop_(loop), folder_(std::move(folder)), jail_(std::move(jail)) {}

VmProcess::~VmProcess() {
  if (channel_) loop_->Unwatch(channel_->fd());
  if (jail_.pidfd) loop_->Unwatch(jail_.pidfd.get());
}

Status VmProcess::Begin(Owner owner) {
  owner_ = std::move(owner);
  RETURN_IF_ERROR(
      loop_->Watch(jail_.pidfd.get(), EPOLLIN, [this](std::uint32_t) { OnJailEnds(); }));
  return Connect();
}

Status VmProcess::Connect() {
  ASSIGN_OR_RETURN(UniqueFd socket, folder_.Connect(kControlSocket, SOCK_SEQPACKET));
  ASSIGN_OR_RETURN(channel_, ControlChannel::Adopt(std::move(socket)));
  return loop_->Watch(channel_->fd(), EPOLLIN, [this](std::uint32_t) { OnReadable(); });
}

void VmProcess::Later(std::function<void()> task) {
  loop_->Post([weak = std::weak_ptr(alive_), task = std::move(task)] {
    if (const auto alive = weak.lock()) task();
  });
}

// ---- the conversation ---------------------------------------------------------------------------

void VmProcess::Request(ControlRequestBody body, int timeout_ms, ReplyCallback done) {
  const std::uint64_t id = ++last_id_;
  const auto fail = [&](Error error) {
    Later([this, id, error = std::move(error)] {
      const auto found = pending_.extract(id);
      if (!found.empty()) found.mapped().done(std::unexpected(error));
    });
  };
  Pending& pending = pending_[id];
  pending.done = std::move(done);
  if (!channel_) return fail({Code::kUnavailable, "gemel-vmm cannot be reached"});
  // It reads as fast as it can; a full socket means that it does not run.
  if (const Status sent = channel_->Send(EncodeRequest({id, std::move(body)})); !sent)
    return fail({Code::kUnavailable, sent.error().message});
  pending.deadline = std::make_unique<Timer>();
  const Status started = pending.deadline->Start(loop_, timeout_ms, [this, id, timeout_ms] {
    const auto late = pending_.extract(id);
    if (late.empty()) return;
    late.mapped().done(MakeError(Code::kDeadlineExceeded,
                                 fmt::format("gemel-vmm has not answered in {} ms", timeout_ms)));
  });
  if (!started) fail(started.error());
}

void VmProcess::OnReadable() {
  const std::weak_ptr weak = alive_;
  for (int i = 0; i < kMessagesATurn && !weak.expired() && channel_; ++i) {
    auto received = channel_->Receive();
    if (!received) return OnConversationEnds(received.error().message);
    if (received->state == Received::State::kNothing) return;
    if (received->state == Received::State::kClosed)
      return OnConversationEnds("it has closed its control socket");
    auto said = DecodeFromVmm(std::move(received->message));
    if (!said) return OnConversationEnds(said.error().message);
    if (auto* reply = std::get_if<ControlReply>(&*said))
      OnReply(std::move(*reply));
    else
      owner_.on_event(std::get<ControlEvent>(*said));
  }
}

void VmProcess::OnReply(ControlReply reply) {
  const auto found = pending_.extract(reply.id);
  if (found.empty()) return;  // too late, and told so
  if (reply.error.code != Code::kOk)
    found.mapped().done(std::unexpected(std::move(reply.error)));
  else
    found.mapped().done(std::move(reply));
}

void VmProcess::OnConversationEnds(std::string reason) {
  loop_->Unwatch(channel_->fd());
  channel_.reset();
  const std::weak_ptr weak = alive_;
  FailPending({Code::kUnavailable, "gemel-vmm cannot be reached: " + reason});
  if (weak.expired()) return;
  if (jail_ended_) return LookForTheEnd();
  // It ends, as a rule: that is told in a moment, and is the better news.
  if (!HasEnded(jail_.pidfd))
    (void)look_timer_.Start(loop_, kOrphanGraceMs, [this, reason = std::move(reason)] {
      if (jail_ended_) return;
      owner_.on_unreachable(reason);
      ConnectAgain();
    });
}

// We were too slow for it, or another daemon was here.
void VmProcess::ConnectAgain() {
  if (jail_ended_ || channel_) return;
  if (const Status connected = Connect(); !connected)
    (void)look_timer_.Start(loop_, kConnectAgainMs, [this] { ConnectAgain(); });
}

void VmProcess::FailPending(const Error& error) {
  const std::weak_ptr weak = alive_;
  while (!weak.expired() && !pending_.empty()) {
    const auto first = pending_.extract(pending_.begin());
    first.mapped().done(std::unexpected(error));
  }
}

// ---- its end ------------------------------------------------------------------------------------

void VmProcess::PowerOff(ReplyCallback done) {
  power_off_asked_ = true;
  Request(PowerOffRequest{}, kPowerOffTimeoutMs, std::move(done));
  (void)force_timer_.Start(loop_, kPowerOffGraceMs, [this] {
    forced_ = true;
    Terminate();
  });
}

void VmProcess::Terminate() const {
  SendSignal(jail_.pidfd, SIGTERM);
  SendSignal(jail_.pidfd, SIGCONT);
}

void VmProcess::OnJailEnds() {
  loop_->Unwatch(jail_.pidfd.get());
  jail_ended_ = true;
  jail_ended_at_ms_ = MonotonicMs();
  siginfo_t info{};
  // One that an earlier daemon started is not our child: its record has to do.
  const auto pidfd = static_cast<id_t>(jail_.pidfd.get());
  if (waitid(P_PIDFD, pidfd, &info, WEXITED) == 0 && info.si_code != CLD_EXITED)
    jail_signal_ = info.si_status;
  // What it said last comes first.
  const std::weak_ptr weak = alive_;
  if (channel_) OnReadable();
  if (!weak.expired() && !told_) LookForTheEnd();
}

// Where there is a record, everything is over. A jail that was killed itself leaves none; then its
// VM is over when it has hung up.
void VmProcess::LookForTheEnd() {
  if (told_) return;
  if (auto exit = folder_.ReadExit()) return TellTheEnd(std::move(*exit));
  const bool patient = MonotonicMs() - jail_ended_at_ms_ < kOrphanGraceMs;
  if (channel_ && patient) {
    (void)look_timer_.Start(loop_, kLookAgainMs, [this] { LookForTheEnd(); });
    return;
  }
  VmExit exit;
  exit.cause = VmExitCause::kLost;
  exit.reason = "its gemel-jail is gone and has not said how the VM ended";
  if (jail_signal_ != 0)
    exit.reason = fmt::format("its gemel-jail was killed by signal {}", jail_signal_);
  exit.ended_at = ClockNs(CLOCK_REALTIME);
  TellTheEnd(std::move(exit));
}

void VmProcess::TellTheEnd(VmExit exit) {
  if (power_off_asked_ && forced_ && exit.cause == VmExitCause::kKilled) {
    exit.cause = VmExitCause::kPoweredOff;
    exit.reason = "it was powered off by force: it did not obey";
  }
  told_ = true;
  FailPending({Code::kNotFound, "this VM has ended: " + exit.reason});
  const auto on_end = std::move(owner_.on_end);
  on_end(std::move(exit));
}

}  // namespace gemel::daemon
