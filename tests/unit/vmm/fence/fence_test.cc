#include "vmm/fence/fence.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <optional>
#include <thread>

#include "tests/fakes/fake_clock.h"

namespace gemel {
namespace {

using cluster::DeadlinePage;
using cluster::Epoch;
using cluster::FenceGrant;
using cluster::PageWriter;
using cluster::SessionId;

constexpr std::int64_t kMs = 1'000'000;  // in ns

DeadlinePage PageUntil(SessionId session, std::int64_t ms) {
  DeadlinePage page;
  page.session = session;
  page.deadline = {ms * 1000};
  page.poisoned = false;
  return page;
}

class FenceTest : public ::testing::Test {
 protected:
  FenceTest() { clock_.boot_ns = 1000 * kMs; }

  static FenceGrant GrantOf(const PageWriter& writer, SessionId session, Epoch epoch) {
    return {writer.OpenForReader().value(), session, epoch};
  }
  std::unique_ptr<Fence> NewFence() {
    return Fence::Create(GrantOf(writer_, kSession, kEpoch), &clock_).value();
  }
  // Shuts `fence` by time and lets its owner hear of it.
  void Shut(Fence& fence) {
    clock_.boot_ns = 3500 * kMs;
    EXPECT_FALSE(fence.Holds());
    loop_->RunOnce(0);
  }
  // The number that Prove told first.
  std::optional<std::size_t> Prove(Fence& fence) {
    std::optional<std::size_t> told;
    fence.Prove([&told](std::size_t in_flight) {
      if (!told) told = in_flight;
    });
    for (int i = 0; i < 1000 && !told; ++i) loop_->RunOnce(10);
    return told;
  }

  static constexpr SessionId kSession{1, 4};
  static constexpr SessionId kLaterSession{1, 5};
  static constexpr Epoch kEpoch{1, 8};
  static constexpr Epoch kLaterEpoch{1, 9};
  testing::FakeClock clock_;
  PageWriter writer_ = PageWriter::Create(PageUntil(kSession, 3500)).value();
  std::unique_ptr<EventLoop> loop_ = EventLoop::Create().value();
};

TEST_F(FenceTest, RightThatLasts_Holds) {
  const auto fence = NewFence();
  EXPECT_TRUE(fence->Holds());
  clock_.boot_ns = 3479 * kMs;
  EXPECT_TRUE(fence->Holds());
}

TEST_F(FenceTest, LeadBeforeTheDeadline_IsOver) {
  const auto fence = NewFence();
  clock_.boot_ns = 3480 * kMs;
  EXPECT_FALSE(fence->Holds());
}

TEST_F(FenceTest, ExtendedInTime_Holds) {
  const auto fence = NewFence();
  writer_.Publish(PageUntil(kSession, 5000));
  clock_.boot_ns = 4000 * kMs;
  EXPECT_TRUE(fence->Holds());
  EXPECT_EQ(fence->AskAgainAtNs(), 4980 * kMs);
}

TEST_F(FenceTest, ExtendedAfterItWasSeenToPass_StaysShut) {
  const auto fence = NewFence();
  clock_.boot_ns = 3600 * kMs;
  EXPECT_FALSE(fence->Holds());
  writer_.Publish(PageUntil(kSession, 9000));
  EXPECT_FALSE(fence->Holds());
  EXPECT_EQ(fence->AskAgainAtNs(), 1);
}

TEST_F(FenceTest, ClockThatWentBackAfterwards_StaysShut) {
  const auto fence = NewFence();
  clock_.boot_ns = 3600 * kMs;
  EXPECT_FALSE(fence->Holds());
  clock_.boot_ns = 1000 * kMs;
  EXPECT_FALSE(fence->Holds());
}

TEST_F(FenceTest, PoisonedPage_IsOverAtOnce) {
  const auto fence = NewFence();
  writer_.Poison();
  EXPECT_FALSE(fence->Holds());
}

TEST_F(FenceTest, PageOfAnotherSession_IsRefused) {
  EXPECT_FALSE(Fence::Create(GrantOf(writer_, kLaterSession, kEpoch), &clock_));
}

TEST_F(FenceTest, PageThatHasPassed_IsRefused) {
  clock_.boot_ns = 3490 * kMs;
  EXPECT_FALSE(Fence::Create(GrantOf(writer_, kSession, kEpoch), &clock_));
}

TEST_F(FenceTest, NobodyAsks_OwnerHearsOfPoisonAllTheSame) {
  clock_.boot_ns = BootNs();  // timers run by the real clock
  PageWriter writer = PageWriter::Create(PageUntil(kSession, BootNs() / kMs + 60'000)).value();
  const auto fence = Fence::Create(GrantOf(writer, kSession, kEpoch), &clock_).value();
  bool shut = false;
  ASSERT_TRUE(fence->Begin(loop_.get(), [&shut] { shut = true; }));
  writer.Poison();
  for (int i = 0; i < 1000 && !shut; ++i) loop_->RunOnce(100);
  EXPECT_TRUE(shut);
}

TEST_F(FenceTest, Refused_IsShutAndNeverRenewed) {
  const auto fence = NewFence();
  ASSERT_TRUE(fence->Begin(loop_.get(), [] {}));
  fence->Refused();
  EXPECT_FALSE(fence->Holds());
  ASSERT_EQ(Prove(*fence), 0u);
  const PageWriter later = PageWriter::Create(PageUntil(kLaterSession, 9000)).value();
  EXPECT_FALSE(fence->Renew(GrantOf(later, kLaterSession, kLaterEpoch)));
  EXPECT_FALSE(fence->Holds());
}

// ---- going on -----------------------------------------------------------------------------------

class LatchedFenceTest : public FenceTest {
 protected:
  LatchedFenceTest() {
    EXPECT_TRUE(fence_->Begin(loop_.get(), [] {}));
    Shut(*fence_);
    EXPECT_EQ(Prove(*fence_), 0u);
  }
  std::unique_ptr<Fence> fence_ = NewFence();
  PageWriter later_ = PageWriter::Create(PageUntil(kLaterSession, 6000)).value();
};

TEST_F(LatchedFenceTest, LaterSessionAndEpoch_HoldsAnew) {
  ASSERT_TRUE(fence_->Renew(GrantOf(later_, kLaterSession, kLaterEpoch)));
  EXPECT_TRUE(fence_->Holds());
  EXPECT_EQ(fence_->session(), kLaterSession);
  clock_.boot_ns = 5980 * kMs;
  EXPECT_FALSE(fence_->Holds());
}

TEST_F(LatchedFenceTest, SameEpoch_IsRefused) {
  EXPECT_FALSE(fence_->Renew(GrantOf(later_, kLaterSession, kEpoch)));
  EXPECT_FALSE(fence_->Holds());
}

TEST_F(LatchedFenceTest, SameSession_IsRefused) {
  const PageWriter same = PageWriter::Create(PageUntil(kSession, 9000)).value();
  EXPECT_FALSE(fence_->Renew(GrantOf(same, kSession, kLaterEpoch)));
}

TEST_F(LatchedFenceTest, LaterSessionThatIsOver_IsRefused) {
  later_.Poison();
  EXPECT_FALSE(fence_->Renew(GrantOf(later_, kLaterSession, kLaterEpoch)));
  EXPECT_FALSE(fence_->Holds());
}

// ---- members ------------------------------------------------------------------------------------

// A thread with a loop, which asks.
class MemberThread {
 public:
  explicit MemberThread(Fence* fence) {
    loop_->SetPermit(fence);
    fence->Join({.loop = loop_.get(),
                 .in_flight = [this] { return in_flight_--; },
                 .over = [this] { over_ = true; },
                 .renewed = [this] { renewed_ = true; }});
    thread_ = std::thread([this] { loop_->Run(); });
  }
  ~MemberThread() {
    loop_->Stop();
    thread_.join();
  }
  EventLoop& loop() { return *loop_; }

  std::size_t in_flight_ = 0;
  std::atomic<bool> over_ = false, renewed_ = false;

 private:
  std::unique_ptr<EventLoop> loop_ = EventLoop::Create().value();
  std::thread thread_;
};

TEST_F(FenceTest, MemberWithRequestsInFlight_IsAskedUntilThereAreNone) {
  const auto fence = NewFence();
  ASSERT_TRUE(fence->Begin(loop_.get(), [] {}));
  MemberThread member(fence.get());
  member.in_flight_ = 2;
  clock_.boot_ns = 3500 * kMs;
  ASSERT_FALSE(fence->Holds());
  std::vector<std::size_t> told;
  fence->Prove([&told](std::size_t in_flight) { told.push_back(in_flight); });
  for (int i = 0; i < 1000 && (told.empty() || told.back() > 0); ++i) loop_->RunOnce(100);
  EXPECT_EQ(told, (std::vector<std::size_t>{2, 1, 0}));
}

TEST_F(FenceTest, MemberThatHangs_ProvesNothing) {
  const auto fence = NewFence();
  ASSERT_TRUE(fence->Begin(loop_.get(), [] {}));
  MemberThread member(fence.get());
  Mutex gate;
  bool told = false;
  {
    const MutexLock hung(gate);  // a system call that does not return
    member.loop().Post([&gate] { const MutexLock lock(gate); });
    clock_.boot_ns = 3500 * kMs;
    ASSERT_FALSE(fence->Holds());
    fence->Prove([&told](std::size_t) { told = true; });
    for (int i = 0; i < 3; ++i) loop_->RunOnce(10);
    EXPECT_FALSE(told);
  }
  for (int i = 0; i < 1000 && !told; ++i) loop_->RunOnce(100);
  EXPECT_TRUE(told);
}

TEST_F(FenceTest, LoopOfAMember_ServesItsDescriptorsOnlyWhileItHolds) {
  const auto fence = NewFence();
  ASSERT_TRUE(fence->Begin(loop_.get(), [] {}));
  const EventFd kick = EventFd::Create().value();
  std::atomic<int> served = 0;
  MemberThread member(fence.get());
  member.loop().Post([&] {
    ASSERT_TRUE(member.loop().Watch(kick.get(), EPOLLIN, [&](std::uint32_t) {
      kick.Drain();
      ++served;
    }));
  });
  Shut(*fence);
  kick.Signal();
  ASSERT_EQ(Prove(*fence), 0u);
  EXPECT_EQ(served, 0);
  const PageWriter later = PageWriter::Create(PageUntil(kLaterSession, 9000)).value();
  ASSERT_TRUE(fence->Renew(GrantOf(later, kLaterSession, kLaterEpoch)));
  while (served == 0) std::this_thread::yield();
  EXPECT_TRUE(member.renewed_);
}

TEST_F(FenceTest, Over_IsToldToMembers) {
  const auto fence = NewFence();
  ASSERT_TRUE(fence->Begin(loop_.get(), [] {}));
  MemberThread member(fence.get());
  Shut(*fence);
  fence->TellOver();
  ASSERT_EQ(Prove(*fence), 0u);
  EXPECT_TRUE(member.over_);
}

}  // namespace
}  // namespace gemel
