#include "block/iscsi/disk.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "block/iscsi/dial.h"
#include "block/iscsi/disk_probe.h"
#include "block/iscsi/disk_transfer.h"
#include "block/iscsi/holder_check.h"

namespace gemel::block {
namespace {

constexpr std::string_view kLog = "iscsi";
constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kShortestPauseNs = 50 * kMs;
constexpr std::int64_t kLongestPauseNs = 1'000 * kMs;
constexpr std::int64_t kBusyPauseNs = 20 * kMs;
// For a session, before a reservation's command counts as unanswered.
constexpr std::int64_t kReservationPatienceNs = 2'000 * kMs;
constexpr std::uint32_t kMaxDepth = 1024;
// Tags beyond those of slots.
constexpr std::uint64_t kProbeTag = std::uint64_t{1} << 32;
constexpr std::uint64_t kReservationTag = kProbeTag + 1;
constexpr std::uint64_t kCheckTag = kProbeTag + 2;

class Disk final : public IscsiDisk, public IscsiSession::Client {
 public:
  explicit Disk(IscsiOptions options);
  ~Disk() override { session_.reset(); }

  Status Open();

  std::uint64_t size() const override { return facts_ ? facts_->bytes() : 0; }
  bool read_only() const override { return options_.read_only; }
  BlockTopology topology() const override { return facts_ ? TopologyOf(*facts_) : BlockTopology{}; }
  std::string_view engine() const override { return "iscsi"; }
  int completion_fd() const override { return epoll_.get(); }
  bool HasRoom() const override { return facts_ && !free_.empty(); }
  void Queue(const BlockRequest& request) override;
  Status Submit() override;
  std::size_t Reap(std::span<BlockCompletion> out) override;
  void Abandon() override;
  void OnPermitOver() override { Pump(); }
  std::size_t in_flight() const override { return session_ ? session_->in_flight() : 0; }

  void SetNexus(const IscsiNexus& nexus) override;
  void GoOn() override;
  void Reserve(const ReservationCommand& command, ReservationCallback done) override;
  bool connected() const override { return ready_; }
  bool conflicted() const override { return conflicted_; }
  FenceStrength strength() const override { return StrengthOf(traits_); }

  void OnLoggedIn() override;
  void OnLost(const std::string& why) override;
  void OnDone(std::uint64_t tag, const ScsiOutcome& outcome) override;

 private:
  Status MakeDescriptors();
  void Service();
  void Dial();
  void OnDialAnswer();
  void Away(const std::string& why);
  void AdoptClaim();
  void BeginCheck();
  void StepCheck();
  void EndCheck(HolderCheck::Verdict verdict);
  void BeginProbe();
  void OnProbed();
  void OnReady();
  void Pump();
  void StartSlot(std::uint32_t index);
  void OnTransfer(std::uint32_t index, DiskTransfer::Verdict verdict);
  void Complete(std::uint32_t index);
  void OnConflict(std::string_view why);
  void CancelPending();
  void StepReservation();
  void EndReservation();
  void WatchSession();
  void Tick(std::int64_t now_ns);
  void SetTimer(std::int64_t at_ns);
  void PlanTimer(std::int64_t now_ns);
  bool Busy() const;

  IscsiOptions options_;
  UniqueFd epoll_;
  UniqueFd timer_;
  std::int64_t timer_at_ns_ = 0;  // 0: it is not set

  std::unique_ptr<IscsiSession> session_;
  int watched_fd_ = -1;
  std::uint32_t watched_events_ = 0;
  bool dialing_ = false;
  bool dialer_gone_ = false;
  bool ready_ = false;  // logged in, and it is the disk that it was
  std::int64_t dial_at_ns_ = 0;
  std::int64_t pause_ns_ = kShortestPauseNs;
  std::string trouble_;  // why there is no session
  std::uint64_t received_ = 0;
  std::int64_t progress_ns_ = 0;
  bool pinged_ = false;

  ReservationKey key_ = 0;          // 0: the disk is not claimed
  std::uint64_t claim_number_ = 0;  // of options_.claims
  bool taken_ = false;              // found to be ours in this epoch
  bool checking_ = false;
  std::unique_ptr<HolderCheck> check_;  // stays until the next one: see last_run_

  std::unique_ptr<DiskProbe> probe_;
  std::optional<DiskFacts> facts_;
  std::unique_ptr<DiskAbilities> abilities_;

  std::vector<DiskTransfer> slots_;
  std::vector<std::uint32_t> free_;
  std::deque<std::uint32_t> pending_;  // to be sent, in order
  std::int64_t not_before_ns_ = 0;     // the target was busy
  std::vector<BlockCompletion> completions_;
  bool conflicted_ = false;
  bool held_ = false;
  bool abandoned_ = false;  // nobody waits for what is pending

  ReservationTraits traits_;
  std::unique_ptr<ReservationRun> run_;
  // The one before: a target that answers too early may still be sent its data.
  std::unique_ptr<ReservationRun> last_run_;
  bool run_started_ = false;
  std::int64_t run_deadline_ns_ = 0;  // by when it must have started
  ReservationCallback reserved_;
};

Disk::Disk(IscsiOptions options) : options_(std::move(options)), slots_(options_.depth) {
  for (std::uint32_t i = options_.depth; i > 0; --i) free_.push_back(i - 1);
}

Status Disk::MakeDescriptors() {
  epoll_.Reset(epoll_create1(EPOLL_CLOEXEC));
  timer_.Reset(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!epoll_ || !timer_) return ErrnoError(errno, "iscsi: epoll or timer");
  for (const int fd : {timer_.get(), options_.dialer.get()}) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
      return ErrnoError(errno, "iscsi: epoll_ctl");
  }
  return {};
}

Status Disk::Open() {
  RETURN_IF_ERROR(MakeDescriptors());
  const std::int64_t deadline = MonotonicMs() + options_.open_timeout.count();
  Dial();
  if (options_.claims_only && options_.open_timeout.count() == 0) return {};
  while (!ready_) {
    if (conflicted_) return MakeError(Code::kAborted, "reservation conflict: " + trouble_);
    if (!session_ && !dialing_) return MakeError(Code::kUnavailable, trouble_);
    const std::int64_t left = deadline - MonotonicMs();
    if (left <= 0)
      return MakeError(Code::kDeadlineExceeded,
                       fmt::format("no answer within {} s", options_.open_timeout.count() / 1000));
    pollfd readable{epoll_.get(), POLLIN, 0};
    if (poll(&readable, 1, static_cast<int>(left)) > 0) Service();
  }
  return {};
}

// ---- the session ------------------------------------------------------------------------------------

void Disk::Dial() {
  if (dialer_gone_) return;
  if (SendDialQuestion(options_.dialer.get()) == DialState::kDone) {
    dialing_ = true;
    return;
  }
  trouble_ = "the process that connects to the target is gone";
  dialer_gone_ = true;
  LOG(kError, kLog, "{}: {}", options_.address.target, trouble_);
}

void Disk::OnDialAnswer() {
  Dialed answer;
  const DialState state = ReceiveDialAnswer(options_.dialer.get(), answer);
  if (state == DialState::kAgain) return;
  dialing_ = false;
  if (state == DialState::kGone) {
    // Else it would wake us for ever.
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, options_.dialer.get(), nullptr);
    dialer_gone_ = true;
    return Away("the process that connects to the target is gone");
  }
  if (session_ || !Allowed(options_.permit)) return;  // no longer wanted
  if (answer.error != 0)
    return Away(std::string(ErrnoError(answer.error, "connect").error().message));
  AdoptClaim();
  auto session =
      IscsiSession::Begin(options_.nexus, options_.address, std::move(answer.socket), this);
  if (!session) return Away(session.error().message);
  session_ = std::move(*session);
  received_ = 0;
  progress_ns_ = MonotonicNs();
  pinged_ = false;
  session_->OnEvents(EPOLLOUT);
}

void Disk::Away(const std::string& why) {
  if (facts_ && why != trouble_)
    LOG(kWarning, kLog, "{}: {}; requests are held", options_.address.target, why);
  trouble_ = why;
  ready_ = false;
  dial_at_ns_ = MonotonicNs() + pause_ns_;
  pause_ns_ = std::min(2 * pause_ns_, kLongestPauseNs);
}

// A later epoch begins anew: whatever was refused before was the earlier one's.
void Disk::AdoptClaim() {
  if (options_.claims == nullptr || options_.claims->number() == claim_number_) return;
  auto [number, claim] = options_.claims->Of(options_.number);
  claim_number_ = number;
  key_ = claim.key;
  if (key_ == 0) return;
  options_.nexus = std::move(claim.nexus);
  traits_ = {};
  taken_ = false;
  conflicted_ = false;
}

void Disk::OnLoggedIn() {
  if (options_.claims_only) return OnReady();
  if (key_ != 0) return BeginCheck();
  BeginProbe();
}

void Disk::BeginCheck() {
  check_ = std::make_unique<HolderCheck>(key_, taken_, &traits_);
  checking_ = true;
  StepCheck();
}

void Disk::StepCheck() {
  while (check_->run().wants() == ReservationRun::Wants::kNothing) {
    const HolderCheck::Verdict verdict = check_->OnRunEnd();
    if (verdict != HolderCheck::Verdict::kAgain) return EndCheck(verdict);
  }
  const bool started = check_->run().wants() == ReservationRun::Wants::kReset
                           ? session_->StartReset(kCheckTag)
                           : session_->Start(check_->run().command(), kCheckTag);
  if (!started) session_->Drop("no memory");
}

void Disk::EndCheck(HolderCheck::Verdict verdict) {
  checking_ = false;
  if (verdict == HolderCheck::Verdict::kMine) {
    taken_ = true;
    return BeginProbe();
  }
  if (verdict == HolderCheck::Verdict::kOthers) OnConflict(check_->why());
  session_->Drop(check_->why());
}

void Disk::BeginProbe() {
  probe_ = std::make_unique<DiskProbe>();
  session_->Start(probe_->next(), kProbeTag);
}

// All of a session's commands have ended as lost, and wait to be sent again.
void Disk::OnLost(const std::string& why) {
  // Before it is closed: a copy elsewhere would keep it in the epoll set.
  if (watched_fd_ >= 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, watched_fd_, nullptr);
  watched_fd_ = -1;
  watched_events_ = 0;
  probe_.reset();
  checking_ = false;
  Away(why);
}

void Disk::OnProbed() {
  const std::unique_ptr<DiskProbe> probe = std::move(probe_);
  if (!probe->problem().empty()) return session_->Drop(probe->problem());
  if (!facts_ && probe->reserved() && options_.conflict == IscsiOptions::Conflict::kFail)
    return session_->Drop("somebody else has it reserved (SCSI-3 persistent reservation)");
  const DiskFacts& now = probe->facts();
  if (facts_ &&
      (now.bytes() < facts_->bytes() || now.capacity.block_bytes != facts_->capacity.block_bytes))
    return session_->Drop("the disk is not the one that it was: smaller, or of other blocks");
  if (!facts_) {
    facts_ = now;
    abilities_ = std::make_unique<DiskAbilities>(now);
  } else if (!trouble_.empty()) {
    LOG(kInfo, kLog, "{}: back", options_.address.target);
  }
  OnReady();
}

void Disk::OnReady() {
  trouble_.clear();
  ready_ = true;
  pause_ns_ = kShortestPauseNs;
}

void Disk::SetNexus(const IscsiNexus& nexus) {
  options_.nexus = nexus;
  conflicted_ = false;
  held_ = true;
  traits_ = {};
  if (session_) session_->Drop("another nexus");
  session_.reset();
  trouble_.clear();
  pause_ns_ = kShortestPauseNs;
  dial_at_ns_ = 0;
  Pump();
}

void Disk::GoOn() {
  held_ = false;
  Pump();
}

void Disk::WatchSession() {
  if (!session_ || session_->lost()) return;
  const int fd = session_->fd();
  const std::uint32_t events = session_->events();
  if (fd == watched_fd_ && events == watched_events_) return;
  epoll_event event{.events = events, .data = {.fd = fd}};
  const int how = fd == watched_fd_ ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (epoll_ctl(epoll_.get(), how, fd, &event) != 0)
    return session_->Drop(ErrnoError(errno, "epoll_ctl").error().message);
  watched_fd_ = fd;
  watched_events_ = events;
}

// ---- what happens -----------------------------------------------------------------------------------

void Disk::Service() {
  std::array<epoll_event, 4> events{};
  const int n = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < n; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const int fd = event.data.fd;
    if (fd == options_.dialer.get()) {
      OnDialAnswer();
    } else if (fd == timer_.get()) {
      std::uint64_t count = 0;
      if (read(fd, &count, sizeof count) > 0) timer_at_ns_ = 0;
    } else if (session_ && fd == session_->fd() && Allowed(options_.permit)) {
      session_->OnEvents(event.events);
    }
  }
  Pump();
}

bool Disk::Busy() const { return session_ && (!ready_ || session_->in_flight() > 0); }

void Disk::Tick(std::int64_t now_ns) {
  if (!session_) {
    if (!dialing_ && now_ns >= dial_at_ns_ && Allowed(options_.permit)) Dial();
    return;
  }
  if (session_->received() != received_) {
    received_ = session_->received();
    progress_ns_ = now_ns;
    pinged_ = false;
  }
  if (!Busy()) return;
  const std::int64_t patience = options_.patience.count() * kMs;
  if (now_ns - progress_ns_ >= 2 * patience) return session_->Drop("no answer");
  if (now_ns - progress_ns_ < patience || pinged_) return;
  session_->Ping();
  pinged_ = true;
}

void Disk::PlanTimer(std::int64_t now_ns) {
  std::int64_t at = 0;
  // Without its permit it waits for OnPermitRenewed, which submits.
  if (!session_ && !dialing_ && !dialer_gone_ && Allowed(options_.permit)) at = dial_at_ns_;
  if (Busy()) at = progress_ns_ + (pinged_ ? 2 : 1) * options_.patience.count() * kMs;
  if (ready_ && !pending_.empty() && not_before_ns_ > now_ns)
    at = at == 0 ? not_before_ns_ : std::min(at, not_before_ns_);
  if (run_ && !run_started_) at = at == 0 ? run_deadline_ns_ : std::min(at, run_deadline_ns_);
  if (at != 0) SetTimer(at);
}

// An earlier time that is set already stays: nothing is lost by looking once more.
void Disk::SetTimer(std::int64_t at_ns) {
  if (timer_at_ns_ != 0 && timer_at_ns_ <= at_ns) return;
  timer_at_ns_ = at_ns;
  itimerspec when{};
  when.it_value = {at_ns / 1'000'000'000, at_ns % 1'000'000'000};
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void Disk::Pump() {
  const std::int64_t now_ns = MonotonicNs();
  // What libiscsi has not sent yet ends with the session.
  if (session_ && !Allowed(options_.permit)) session_->Drop("this machine's node may not write");
  if (session_ && options_.claims != nullptr && options_.claims->number() != claim_number_)
    session_->Drop("another epoch");
  Tick(now_ns);
  if (ready_ && session_->in_flight() == 0) progress_ns_ = now_ns;
  if (run_ && !run_started_ && (ready_ || now_ns >= run_deadline_ns_)) {
    run_started_ = true;
    if (!ready_) run_->OnOutcome({.lost = true});
    StepReservation();
  }
  while (ready_ && !conflicted_ && !held_ && !pending_.empty() && now_ns >= not_before_ns_ &&
         Allowed(options_.permit)) {
    const std::uint32_t index = pending_.front();
    pending_.pop_front();
    StartSlot(index);
  }
  if (session_ && Allowed(options_.permit)) session_->OnEvents(0);
  WatchSession();
  if (session_ && session_->lost()) session_.reset();
  if (abandoned_ && (!ready_ || conflicted_ || held_)) CancelPending();
  PlanTimer(now_ns);
}

// ---- requests ---------------------------------------------------------------------------------------

void Disk::Queue(const BlockRequest& request) {
  CHECK(!free_.empty());
  abandoned_ = false;
  const std::uint32_t index = free_.back();
  free_.pop_back();
  DiskTransfer& transfer = slots_[index];
  const DiskTransfer::Verdict verdict = transfer.Begin(request, abilities_.get());
  if (verdict == DiskTransfer::Verdict::kDone) return Complete(index);
  if (conflicted_ && options_.conflict == IscsiOptions::Conflict::kFail) {
    transfer.Fail(EBADE);
    return Complete(index);
  }
  pending_.push_back(index);
}

Status Disk::Submit() {
  Pump();
  return {};
}

std::size_t Disk::Reap(std::span<BlockCompletion> out) {
  Service();
  const std::size_t n = std::min(out.size(), completions_.size());
  const auto end = completions_.begin() + static_cast<std::ptrdiff_t>(n);
  std::copy(completions_.begin(), end, out.begin());
  completions_.erase(completions_.begin(), end);
  return n;
}

void Disk::StartSlot(std::uint32_t index) {
  if (session_->Start(slots_[index].Next(), index)) return;
  slots_[index].Fail(ENOMEM);
  Complete(index);
}

void Disk::Complete(std::uint32_t index) {
  const DiskTransfer& transfer = slots_[index];
  completions_.push_back({transfer.request().tag, transfer.result()});
  free_.push_back(index);
}

void Disk::OnDone(std::uint64_t tag, const ScsiOutcome& outcome) {
  if (tag == kProbeTag) {
    if (!probe_) return;
    probe_->OnOutcome(outcome);
    if (outcome.lost) return;
    if (probe_->done()) return OnProbed();
    session_->Start(probe_->next(), kProbeTag);
    return;
  }
  if (tag == kCheckTag) {
    if (!checking_ || outcome.lost) return;
    check_->run().OnOutcome(outcome);
    return StepCheck();
  }
  if (tag == kReservationTag) {
    if (!run_) return;
    run_->OnOutcome(outcome);
    return StepReservation();
  }
  const auto index = static_cast<std::uint32_t>(tag);
  if (outcome.lost) {
    pending_.push_back(index);
    return;
  }
  OnTransfer(index, slots_[index].OnOutcome(outcome));
}

void Disk::OnTransfer(std::uint32_t index, DiskTransfer::Verdict verdict) {
  switch (verdict) {
    case DiskTransfer::Verdict::kNext:
    case DiskTransfer::Verdict::kAgain:
      if (session_->logged_in() && !conflicted_ && !held_) return StartSlot(index);
      return pending_.push_front(index);
    case DiskTransfer::Verdict::kLater:
      not_before_ns_ = MonotonicNs() + kBusyPauseNs;
      return pending_.push_front(index);
    case DiskTransfer::Verdict::kConflict:
      pending_.push_front(index);
      return OnConflict("somebody else has this disk");
    case DiskTransfer::Verdict::kDone:
      return Complete(index);
  }
}

void Disk::OnConflict(std::string_view why) {
  if (!std::exchange(conflicted_, true)) {
    LOG(kError, kLog, "{}: reservation conflict: {}", options_.address.target, why);
    if (options_.on_conflict) options_.on_conflict();
  }
  if (options_.conflict == IscsiOptions::Conflict::kHold) return;
  for (const std::uint32_t index : std::exchange(pending_, {})) {
    slots_[index].Fail(EBADE);
    Complete(index);
  }
}

void Disk::Abandon() {
  abandoned_ = true;
  SetTimer(1);  // now: looks at it in Reap
}

void Disk::CancelPending() {
  for (const std::uint32_t index : std::exchange(pending_, {})) {
    slots_[index].Fail(ECANCELED);
    Complete(index);
  }
}

// ---- reservations -----------------------------------------------------------------------------------

void Disk::Reserve(const ReservationCommand& command, ReservationCallback done) {
  CHECK(run_ == nullptr);
  run_ = std::make_unique<ReservationRun>(command, &traits_);
  run_started_ = false;
  run_deadline_ns_ = MonotonicNs() + kReservationPatienceNs;
  reserved_ = std::move(done);
  Pump();
}

void Disk::StepReservation() {
  if (run_->wants() == ReservationRun::Wants::kNothing) return EndReservation();
  const bool started = run_->wants() == ReservationRun::Wants::kReset
                           ? session_->StartReset(kReservationTag)
                           : session_->Start(run_->command(), kReservationTag);
  if (started) return;
  run_->OnOutcome({.lost = true});
  EndReservation();
}

void Disk::EndReservation() {
  last_run_ = std::move(run_);
  ReservationAnswer& answer = last_run_->answer();
  if (answer.result == ReservationAnswer::Result::kUnknown && !ready_ && !trouble_.empty())
    answer.note = fmt::format("{}: {}", options_.address.target, trouble_);
  std::exchange(reserved_, nullptr)(std::move(answer));
}

}  // namespace

Result<std::unique_ptr<IscsiDisk>> OpenIscsi(IscsiOptions options) {
  if (options.depth == 0 || options.depth > kMaxDepth)
    return InvalidArgument("iscsi: depth {}: not from 1 to {}", options.depth, kMaxDepth);
  const std::string target = options.address.target;
  auto disk = std::make_unique<Disk>(std::move(options));
  if (const Status opened = disk->Open(); !opened) return WithContext(opened.error(), target);
  return disk;
}

}  // namespace gemel::block
