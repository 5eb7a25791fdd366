#include "keeper/keeper.h"

#include <gtest/gtest.h>

#include <deque>

#include "etcd/codec.h"
#include "etcd/kv_store.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_kv.h"

namespace gemel::keeper {
namespace {

using cluster::PageReader;
using cluster::Session;
using cluster::SessionId;
using cluster::SessionRecord;
using cluster::SessionState;
using cluster::Time;

class FakeSaver : public MemorySaver {
 public:
  void Save(const MemoryState& state, std::function<void()> durable) override {
    saved.push_back(state);
    if (durable) waiting.push_back(std::move(durable));
    if (works) Finish();
  }
  void Finish() {
    for (const auto& durable : std::exchange(waiting, {})) durable();
  }
  bool works = true;
  std::vector<MemoryState> saved;
  std::deque<std::function<void()>> waiting;
};

// Node 1 of a cluster of incarnation 1; etcd answers when the test says so.
struct KeeperTest : ::testing::Test {
  KeeperTest()
      : loop(EventLoop::Create().value()),
        store(loop.get(), &kv, &clock, {.scope = etcd::Scope::kNodes}) {
    kv.answers = false;
    kv.Put("/gemel/nodes/incarnation", etcd::EncodeIncarnation(1));
    Restart({});
  }
  void Restart(const MemoryState& remembered) {
    keeper.reset();
    kv.EndStreams("");
    keeper = std::make_unique<Keeper>(
        1, remembered,
        Keeper::Outside{&store, &saver, [this] { return Now(); }, [this](Time at) { wake = at; },
                        [this] { ++changes; }});
  }
  Time Now() const { return {clock.monotonic_ns / 1000}; }
  // Time goes on, the keeper's timer goes off when it is due.
  void After(std::int64_t ms) {
    const Time end = Now() + Time{ms * 1000};
    if (auto_answer) kv.Answer();
    while (wake <= end) {
      clock.Advance((std::max(wake, Now()) - Now()).us * 1000);
      keeper->Run();
      if (auto_answer) kv.Answer();
    }
    clock.Advance((end - Now()).us * 1000);
  }
  void Begin() {
    keeper->Begin();
    keeper->OnStatement(Quiet{keeper->view().last});
  }
  // Session 1.1 lives.
  void Open() {
    Begin();
    kv.Answer();
    ASSERT_EQ(keeper->view().phase, Session::Phase::kLive);
  }
  PageReader Page() const { return PageReader::Map(*keeper->page()->OpenForReader()).value(); }

  etcd::FakeKv kv;
  testing::FakeClock clock;
  std::unique_ptr<EventLoop> loop;
  etcd::KvStore store;
  FakeSaver saver;
  bool auto_answer = false;
  Time wake{1};
  int changes = 0;
  std::unique_ptr<Keeper> keeper;
};

TEST_F(KeeperTest, NobodySaidQuiet_OpensNothing) {
  keeper->Begin();
  After(5000);
  EXPECT_EQ(kv.commits, 0);
  EXPECT_TRUE(keeper->view().wants_quiet);
}

TEST_F(KeeperTest, Quiet_OpensASessionWithAPage) {
  Begin();
  EXPECT_EQ(keeper->page(), nullptr);
  kv.Answer();
  EXPECT_EQ(keeper->view().session, (SessionId{1, 1}));
  EXPECT_EQ(keeper->view().trouble, "");
  const PageReader page = Page();
  EXPECT_EQ(page.Read().session, (SessionId{1, 1}));
  EXPECT_EQ(page.Read().deadline, Now() + Time{2'500'000});
}

TEST_F(KeeperTest, Beats_MoveThePageOn) {
  Open();
  const PageReader page = Page();
  auto_answer = true;
  After(60'000);
  EXPECT_GT(page.Read().deadline, Now());
  EXPECT_EQ(keeper->view().session, (SessionId{1, 1}));
}

TEST_F(KeeperTest, NoAnswers_ThePageIsPoisonedWhenItsTimeIsUp) {
  Open();
  const PageReader page = Page();
  kv.reachable = false;
  After(2'499);
  EXPECT_FALSE(page.Read().poisoned);
  After(1);
  EXPECT_TRUE(page.Read().poisoned);
  EXPECT_EQ(keeper->page(), nullptr);
  EXPECT_EQ(keeper->view().opened.value, 0);
}

TEST_F(KeeperTest, SessionOver_TheNextWaitsForQuietOfIt) {
  Open();
  kv.reachable = false;
  After(3'000);
  kv.lost.clear();
  kv.reachable = true;
  store.Check();  // reads anew
  auto_answer = true;
  After(3'000);
  EXPECT_EQ(keeper->view().phase, Session::Phase::kClosed);
  EXPECT_TRUE(keeper->view().wants_quiet);
  keeper->OnStatement(Quiet{{1, 1}});
  After(1'000);
  EXPECT_EQ(keeper->view().session, (SessionId{1, 2}));
}

TEST_F(KeeperTest, QuietOfASessionThatLives_IsNotHeard) {
  Open();
  keeper->OnStatement(Quiet{{1, 1}});
  kv.reachable = false;
  After(3'000);
  EXPECT_TRUE(keeper->view().wants_quiet);
}

TEST_F(KeeperTest, LateAnswer_RevivesNothing) {
  Open();
  const PageReader page = Page();
  After(600);  // a beat is under way
  After(3'000);
  kv.Answer();
  EXPECT_TRUE(page.Read().poisoned);
  EXPECT_EQ(keeper->page(), nullptr);
}

TEST_F(KeeperTest, HeldUpPastItsRight_BeginsAnew) {
  Open();
  const PageReader page = Page();
  clock.Advance(10'000'000'000);  // it did not run
  kv.Answer();
  keeper->Run();
  EXPECT_TRUE(page.Read().poisoned);
  store.Check();
  keeper->OnStatement(Quiet{{1, 1}});
  kv.Answer();
  EXPECT_EQ(keeper->view().session, (SessionId{1, 2}));
  EXPECT_TRUE(page.Read().poisoned);
  EXPECT_EQ(Page().Read().session, (SessionId{1, 2}));
}

TEST_F(KeeperTest, Fenced_ThePageIsPoisonedAtOnce) {
  Open();
  const PageReader page = Page();
  kv.Put("/gemel/nodes/session/1", etcd::EncodeSession({{1, 1}, SessionState::kFenced}));
  EXPECT_TRUE(page.Read().poisoned);
}

TEST_F(KeeperTest, OldSessionOfARestartedKeeper_MustBeQuietFirst) {
  kv.Put("/gemel/nodes/session/1", etcd::EncodeSession({{1, 7}, SessionState::kOpen}));
  keeper->Begin();
  keeper->OnStatement(Quiet{{1, 6}});
  EXPECT_EQ(kv.commits, 0);
  EXPECT_EQ(keeper->view().last, (SessionId{1, 7}));
  keeper->OnStatement(Quiet{{1, 7}});
  kv.Answer();
  EXPECT_EQ(keeper->view().session, (SessionId{1, 8}));
}

TEST_F(KeeperTest, Drained_ClosesItsSessionWhenQuietAndOpensNone) {
  Open();
  keeper->OnStatement(Drained{true});
  auto_answer = true;
  After(1'000);
  EXPECT_EQ(keeper->view().phase, Session::Phase::kLive);
  keeper->OnStatement(Quiet{{1, 1}});
  After(1'000);
  EXPECT_TRUE(keeper->view().vote_given_up);
  EXPECT_EQ(keeper->page(), nullptr);
  keeper->OnStatement(Drained{false});
  keeper->OnStatement(Quiet{{1, 1}});
  After(1'000);
  EXPECT_EQ(keeper->view().session, (SessionId{1, 2}));
}

TEST_F(KeeperTest, DrainedNoMore_WhatWasPromisedOfALiveSessionIsVoid) {
  Open();
  keeper->OnStatement(Drained{true});
  keeper->OnStatement(Quiet{{1, 1}});
  keeper->OnStatement(Drained{false});
  EXPECT_TRUE(keeper->view().wants_quiet);
}

TEST_F(KeeperTest, NewIncarnation_IsDurableBeforeASessionOpensInIt) {
  saver.works = false;
  Begin();
  After(1'000);
  EXPECT_EQ(kv.commits, 0);
  ASSERT_FALSE(saver.saved.empty());
  EXPECT_EQ(saver.saved[0].incarnation, 1U);
  saver.Finish();
  EXPECT_EQ(kv.commits, 1);
}

TEST_F(KeeperTest, DiskThatFailed_IsTriedAgain) {
  saver.works = false;
  Begin();
  saver.waiting.clear();
  After(6'000);
  saver.Finish();
  EXPECT_EQ(kv.commits, 1);
}

TEST_F(KeeperTest, HigherIncarnation_EndsTheSession) {
  Open();
  const PageReader page = Page();
  kv.Put("/gemel/nodes/incarnation", etcd::EncodeIncarnation(2));
  EXPECT_TRUE(page.Read().poisoned);
  EXPECT_EQ(saver.saved.back().incarnation, 2U);
}

TEST_F(KeeperTest, LowerIncarnation_StopsForGood) {
  Restart({5, {3}, {900}, false});
  Begin();
  kv.Answer();
  After(5'000);
  EXPECT_EQ(kv.commits, 0);
  EXPECT_TRUE(keeper->view().alarmed);
  EXPECT_TRUE(saver.saved.back().alarmed);
}

TEST_F(KeeperTest, AlarmedBefore_StaysSoUntilAHigherIncarnation) {
  Restart({1, {2}, {2}, true});
  Begin();
  EXPECT_EQ(kv.commits, 0);
  kv.Put("/gemel/nodes/incarnation", etcd::EncodeIncarnation(2));
  EXPECT_EQ(kv.commits, 1);
}

TEST_F(KeeperTest, StoreOlderThanWhatWasSeen_OpensNothing) {
  Restart({1, {2}, {900}, false});
  Begin();
  EXPECT_EQ(kv.commits, 0);
  EXPECT_NE(keeper->view().trouble, "");
}

TEST_F(KeeperTest, StoreWithoutACluster_IsWaitedFor) {
  kv.keys.clear();
  Begin();
  EXPECT_EQ(kv.commits, 0);
  kv.Put("/gemel/nodes/incarnation", etcd::EncodeIncarnation(1));
  EXPECT_EQ(kv.commits, 1);
}

TEST_F(KeeperTest, OwnRecordUnreadable_OpensNothing) {
  kv.Put("/gemel/nodes/session/1", "\xff");
  Begin();
  EXPECT_EQ(kv.commits, 0);
  EXPECT_NE(keeper->view().trouble, "");
}

TEST_F(KeeperTest, Beats_AreNoNews) {
  Open();
  changes = 0;
  auto_answer = true;
  After(10'000);
  EXPECT_EQ(changes, 0);
}

TEST_F(KeeperTest, HighestRevision_IsKeptNowAndThen) {
  Open();
  saver.saved.clear();
  auto_answer = true;
  After(20'000);
  EXPECT_GE(saver.saved.size(), 3U);
  EXPECT_LE(saver.saved.size(), 5U);
  EXPECT_GT(saver.saved.back().highest.value, 30);
}

}  // namespace
}  // namespace gemel::keeper
