// The latch of one VM process: the Permit that everything with an effect outside asks, and what its
// owner needs to prove that the process issues nothing more (docs/FAILOVER.md, 'The latch').
//
//   open ── the page has passed, or is poisoned, or of another session; Refused() ──▶ shut
//     ▲                                                                                │
//     └── Renew: a later session and epoch ◀── every member asked, all vCPUs out ◀─────┘
//
// It trusts nobody to tell it: each asker reads page and clock itself. It counts the right as over
// kLead early, so that a thread which was just allowed has that long to finish what it is at.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/event_fd.h"
#include "base/event_loop.h"
#include "base/permit.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cluster/deadline_page.h"
#include "cluster/page/fence_grant.h"
#include "cluster/page/page_memory.h"

namespace gemel {

class Fence final : public Permit {
 public:
  static constexpr cluster::Time kLead{20'000};
  // The owner looks at least this often, so that a page that is poisoned early is noticed also by a
  // machine that does nothing.
  static constexpr std::int64_t kLookNs = 200'000'000;

  // kFailedPrecondition if the grant allows nothing at this moment. `clock` outlives the fence.
  static Result<std::unique_ptr<Fence>> Create(const cluster::FenceGrant& grant,
                                               const Clock* clock);
  ~Fence() override;
  Fence(const Fence&) = delete;
  Fence& operator=(const Fence&) = delete;

  // Any thread.
  bool Holds() override;
  std::int64_t AskAgainAtNs() const override;
  void Refused() override;

  void Join(Member member) override { members_.push_back(std::move(member)); }

  // ---- the owner's, on its loop's thread

  // `on_shut` is called each time that the fence is shut or refused. The loop outlives the fence.
  Status Begin(EventLoop* loop, std::function<void()> on_shut);
  // Has every member's loop run a task, which proves that what was allowed before has been
  // submitted and that nothing more will be. Then `told`, with how much is in flight, comes on the
  // owner's loop; and again every 20 ms until that is nothing, or the fence is renewed or gone. A
  // member whose system call hangs proves nothing. REQUIRES: shut.
  void Prove(std::function<void(std::size_t in_flight)> told);
  // Tells them that it is over. REQUIRES: shut.
  void TellOver();
  // Opens anew. kFailedPrecondition, naming it, for a session or an epoch that is not a later one,
  // if the grant allows nothing at this moment, or after Refused. REQUIRES: shut; Prove's `told` was
  // called since; no vCPU is in the guest.
  Status Renew(const cluster::FenceGrant& grant);

  cluster::SessionId session() const { return session_; }
  cluster::Epoch epoch() const { return epoch_; }
  bool refused() const { return refused_.load(std::memory_order_acquire); }
  bool shut() const { return shut_.load(std::memory_order_acquire); }

 private:
  Fence(cluster::PageReader page, const cluster::FenceGrant& grant, const Clock* clock,
        EventFd shut_event);
  cluster::Time Now() const { return {clock_->BootNow() / 1000}; }
  void Shut();
  void Look();
  void OnTimer();
  void AskMembers();
  void OnAnswers(std::uint64_t proof, std::size_t in_flight);
  void Arm(std::int64_t at_ns);

  const Clock* const clock_;
  const EventFd shut_event_;
  std::atomic<bool> shut_{false};
  std::atomic<bool> refused_{false};
  // Written by Renew alone, while shut_ keeps everybody from reading.
  cluster::PageReader page_;
  cluster::SessionId session_;
  cluster::Epoch epoch_;
  std::vector<Member> members_;

  EventLoop* loop_ = nullptr;
  UniqueFd look_timer_;
  std::function<void()> on_shut_;
  std::function<void(std::size_t)> told_;
  std::uint64_t proof_ = 0;  // counts Prove and Renew: answers of an earlier one prove nothing
  const std::shared_ptr<Fence*> alive_;  // tasks on their way hold weak references
};

}  // namespace gemel
