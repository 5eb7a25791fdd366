#include "vmm/fence/fence.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"

namespace gemel {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kProveAgainNs = 20'000'000;

// What members answer, as their threads come to it.
struct Answers {
  std::atomic<std::size_t> missing = 0;
  std::atomic<std::size_t> in_flight = 0;
};

Status CheckGrant(const cluster::PageReader& page, cluster::SessionId session, cluster::Time now) {
  const cluster::DeadlinePage read = page.Read();
  if (read.session != session)
    return FailedPrecondition("fence: a page of session {}.{}, not {}.{}", read.session.incarnation,
                              read.session.number, session.incarnation, session.number);
  if (!read.Allows(session, now)) return FailedPrecondition("fence: this session is over");
  return {};
}

}  // namespace

Result<std::unique_ptr<Fence>> Fence::Create(const cluster::FenceGrant& grant, const Clock* clock) {
  ASSIGN_OR_RETURN(cluster::PageReader page, cluster::PageReader::Map(grant.page));
  ASSIGN_OR_RETURN(EventFd shut_event, EventFd::Create());
  std::unique_ptr<Fence> fence(new Fence(std::move(page), grant, clock, std::move(shut_event)));
  RETURN_IF_ERROR(CheckGrant(fence->page_, grant.session, fence->Now() + kLead));
  return fence;
}

Fence::Fence(cluster::PageReader page, const cluster::FenceGrant& grant, const Clock* clock,
             EventFd shut_event)
    : clock_(clock),
      shut_event_(std::move(shut_event)),
      page_(std::move(page)),
      session_(grant.session),
      epoch_(grant.epoch),
      alive_(std::make_shared<Fence*>(this)) {}

Fence::~Fence() {
  if (loop_ == nullptr) return;
  loop_->Unwatch(shut_event_.get());
  if (look_timer_) loop_->Unwatch(look_timer_.get());
}

// The clock is read after the page: what is true is then true at the last moment before acting.
bool Fence::Holds() {
  if (shut_.load(std::memory_order_acquire)) return false;
  const cluster::DeadlinePage page = page_.Read();
  if (page.Allows(session_, Now() + kLead)) [[likely]]
    return true;
  Shut();
  return false;
}

std::int64_t Fence::AskAgainAtNs() const {
  if (shut_.load(std::memory_order_acquire)) return 1;
  const cluster::DeadlinePage page = page_.Read();
  if (page.poisoned) return 1;
  return std::max<std::int64_t>((page.deadline - kLead).us * 1000, 1);
}

void Fence::Shut() {
  if (!shut_.exchange(true)) shut_event_.Signal();
}

void Fence::Refused() {
  refused_ = true;
  shut_ = true;
  shut_event_.Signal();
}

Status Fence::Begin(EventLoop* loop, std::function<void()> on_shut) {
  loop_ = loop;
  on_shut_ = std::move(on_shut);
  RETURN_IF_ERROR(loop->Watch(shut_event_.get(), EPOLLIN, [this](std::uint32_t) {
    shut_event_.Drain();
    if (shut()) on_shut_();
  }));
  look_timer_.Reset(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!look_timer_) return ErrnoError(errno, "fence: timerfd_create");
  RETURN_IF_ERROR(loop->Watch(look_timer_.get(), EPOLLIN, [this](std::uint32_t) { OnTimer(); }));
  Look();
  return {};
}

void Fence::OnTimer() {
  std::uint64_t expired = 0;
  static_cast<void>(!read(look_timer_.get(), &expired, sizeof expired));
  if (!shut()) return Look();
  if (told_ != nullptr) AskMembers();
}

void Fence::Look() {
  if (Holds()) Arm(std::min(AskAgainAtNs(), clock_->BootNow() + kLookNs));
}

void Fence::Arm(std::int64_t at_ns) {
  itimerspec when{};
  when.it_value = {at_ns / kSecond, at_ns % kSecond};
  CHECK(timerfd_settime(look_timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr) == 0);
}

void Fence::Prove(std::function<void(std::size_t in_flight)> told) {
  CHECK(shut());
  told_ = std::move(told);
  ++proof_;
  AskMembers();
}

void Fence::AskMembers() {
  const auto answers = std::make_shared<Answers>();
  // One more, for us: a machine without members is answered as well.
  answers->missing = members_.size() + 1;
  const auto answered = [loop = loop_, weak = std::weak_ptr(alive_), proof = proof_,
                         answers](std::size_t in_flight) {
    answers->in_flight += in_flight;
    if (--answers->missing > 0) return;
    loop->Post([weak, proof, answers] {
      if (const auto alive = weak.lock()) (*alive)->OnAnswers(proof, answers->in_flight);
    });
  };
  for (const Member& member : members_)
    member.loop->Post([answered, in_flight = member.in_flight] { answered(in_flight()); });
  answered(0);
}

void Fence::OnAnswers(std::uint64_t proof, std::size_t in_flight) {
  if (proof != proof_ || told_ == nullptr) return;
  if (in_flight > 0) Arm(clock_->BootNow() + kProveAgainNs);
  const auto told = told_;
  if (in_flight == 0) told_ = nullptr;
  told(in_flight);
}

void Fence::TellOver() {
  for (const Member& member : members_) member.loop->Post(member.over);
}

Status Fence::Renew(const cluster::FenceGrant& grant) {
  CHECK(shut());
  if (refused()) return FailedPrecondition("fence: storage refused this process");
  if (grant.session <= session_)
    return FailedPrecondition("fence: session {}.{} is not later than {}.{}",
                              grant.session.incarnation, grant.session.number, session_.incarnation,
                              session_.number);
  if (grant.epoch <= epoch_)
    return FailedPrecondition("fence: epoch {}.{} is not later than {}.{}", grant.epoch.incarnation,
                              grant.epoch.counter, epoch_.incarnation, epoch_.counter);
  ASSIGN_OR_RETURN(cluster::PageReader page, cluster::PageReader::Map(grant.page));
  RETURN_IF_ERROR(CheckGrant(page, grant.session, Now() + kLead));
  page_ = std::move(page);
  session_ = grant.session;
  epoch_ = grant.epoch;
  told_ = nullptr;
  ++proof_;
  shut_.store(false, std::memory_order_release);
  Look();
  for (const Member& member : members_) member.loop->Post(member.renewed);
  return {};
}

}  // namespace gemel
