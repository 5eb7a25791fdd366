#include "etcd/kv_store.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_kv.h"

namespace gemel::etcd {
namespace {

using cluster::KeyKind;
using cluster::Txn;
using cluster::TxnReply;
using cluster::TxnResult;

constexpr std::int64_t kMs = 1'000'000;

struct KvStoreTest : ::testing::Test {
  KvStoreTest() : loop(EventLoop::Create().value()), store(loop.get(), &kv, &clock, {}) {
    kv.Put("/gemel/nodes/incarnation", EncodeIncarnation(1));
  }
  void Watch() {
    store.Watch([this](const View& view, const ViewChange& change) {
      revisions.push_back(view.store().value);
      last = change;
    });
  }
  void After(std::int64_t ms) {
    clock.Advance(ms * kMs);
    store.Check();
  }
  FakeKv kv;
  testing::FakeClock clock;
  std::unique_ptr<EventLoop> loop;
  KvStore store;
  std::vector<std::int64_t> revisions;
  ViewChange last;
};

Txn Beat() {
  Txn txn;
  txn.If(KeyKind::kBeat, 1, {0});
  txn.put = Txn::Put::kBeat;
  txn.put_id = 1;
  return txn;
}

TEST_F(KvStoreTest, Watch_ShowsAllThenWhatChanges) {
  Watch();
  EXPECT_TRUE(last.whole);
  kv.Put("/gemel/nodes/beat/1", EncodeBeat(1));
  EXPECT_FALSE(last.whole);
  EXPECT_EQ(revisions, (std::vector<std::int64_t>{2, 3}));
}

TEST_F(KvStoreTest, Commit_TellsCommittedFromRefused) {
  std::vector<TxnReply> replies;
  store.Commit(Beat(), [&](const TxnReply& reply) { replies.push_back(reply); });
  store.Commit(Beat(), [&](const TxnReply& reply) { replies.push_back(reply); });
  ASSERT_EQ(replies.size(), 2U);
  EXPECT_EQ(replies[0].result, TxnResult::kSucceeded);
  EXPECT_EQ(replies[0].revision.value, 3);
  EXPECT_EQ(replies[1].result, TxnResult::kRefused);
  EXPECT_EQ(replies[1].revision.value, 3);
}

TEST_F(KvStoreTest, CommitWithoutAnswer_IsUnknown) {
  kv.reachable = false;
  TxnReply reply{TxnResult::kSucceeded, {1}};
  store.Commit(Beat(), [&](const TxnReply& found) { reply = found; });
  kv.FailCalls();
  EXPECT_EQ(reply.result, TxnResult::kUnknown);
}

TEST_F(KvStoreTest, StreamEnds_IsReadAnewAfterAWhile) {
  Watch();
  kv.EndStreams("the member died");
  EXPECT_NE(store.trouble(), "");
  kv.Put("/gemel/nodes/beat/1", EncodeBeat(1));
  After(50);
  EXPECT_EQ(kv.follows, 1);
  After(50);
  EXPECT_EQ(kv.follows, 2);
  EXPECT_TRUE(last.whole);
  EXPECT_EQ(revisions.back(), 3);
  EXPECT_EQ(store.trouble(), "");
}

TEST_F(KvStoreTest, StreamIsSilent_IsReadAnewAtOnce) {
  Watch();
  kv.streams_hang = true;
  After(999);
  EXPECT_EQ(kv.follows, 1);
  kv.streams_hang = false;
  After(1);
  EXPECT_EQ(kv.follows, 2);
}

TEST_F(KvStoreTest, StreamThatSaysNothingNew_IsNotSilent) {
  Watch();
  After(999);
  kv.SayNothing();
  After(999);
  EXPECT_EQ(kv.follows, 1);
  EXPECT_EQ(revisions.size(), 1U);
}

TEST_F(KvStoreTest, FirstReadHangs_IsTriedAnew) {
  kv.streams_hang = true;
  Watch();
  After(1000);
  EXPECT_EQ(kv.follows, 2);
  EXPECT_TRUE(revisions.empty());
}

TEST_F(KvStoreTest, StoreWentBack_IsShownAsItIs) {
  Watch();
  kv.revision = 1;
  kv.keys.clear();
  kv.EndStreams("restored");
  After(100);
  EXPECT_EQ(revisions.back(), 1);
}

TEST_F(KvStoreTest, IncarnationUnreadable_ShowsNothing) {
  kv.Put("/gemel/nodes/incarnation", "\xff");
  Watch();
  EXPECT_TRUE(revisions.empty());
  kv.Put("/gemel/nodes/incarnation", EncodeIncarnation(2));
  EXPECT_EQ(revisions.size(), 1U);
}

TEST_F(KvStoreTest, NodesAlone_DoNotSeeMachines) {
  KvStore nodes(loop.get(), &kv, &clock, {.scope = Scope::kNodes});
  int views = 0;
  nodes.Watch([&](const View&, const ViewChange&) { ++views; });
  kv.Put("/gemel/vms/3", "anything");
  EXPECT_EQ(views, 1);
}

}  // namespace
}  // namespace gemel::etcd
