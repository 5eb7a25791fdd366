// More than two nodes of failover_pair.h, all of which would have the one machine: whatever befalls them,
// no two issue at once, and in the end one has it.
#include <algorithm>
#include <random>
#include <vector>

#include "tests/unit/grpc/failover_pair.h"

namespace gemel::daemon {
namespace {

class ManyFailoverTest : public ::testing::Test {
 protected:
  void Begin(cluster::NodeId count) {
    etcd_.Put("/gemel/nodes/incarnation", etcd::EncodeIncarnation(1));
    for (cluster::NodeId id = 1; id <= count; ++id)
      nodes_.push_back(std::make_unique<FailoverNode>(id, loop_.get(), &etcd_, &disk_));
    ASSERT_TRUE(Until([this] { return Writers() == 1; }));
  }
  void Tick() {
    for (auto& node : nodes_) node->Tick();
    bool more = true;
    for (int turn = 0; more && turn < 100; ++turn) {
      more = false;
      for (auto& node : nodes_) more = node->Deliver() || more;
    }
    const auto issuers = std::ranges::count_if(nodes_, [](auto& node) { return node->Issues(); });
    ASSERT_LE(issuers, 1) << "nodes issue at once";
  }
  void After(std::int64_t ms) {
    for (; ms > 0 && !HasFatalFailure(); ms -= kTickMs) Tick();
  }
  bool Until(const std::function<bool()>& wanted) {
    for (int ticks = 0; ticks < 6'000 && !HasFatalFailure(); ++ticks) {
      if (wanted()) return true;
      Tick();
    }
    return false;
  }
  long Writers() {
    return std::ranges::count_if(nodes_, [](auto& node) { return node->Writes(); });
  }
  FailoverNode& Owner() {
    return **std::ranges::find_if(nodes_, [](auto& node) { return node->Writes(); });
  }
  int Starts() const {
    int starts = 0;
    for (const auto& node : nodes_) starts += node->starts();
    return starts;
  }
  void Harm(FailoverNode& node, unsigned how) {
    if (how == 0) node.Cut(true);
    if (how == 1) node.Cut(false);
    if (how == 2) node.frozen = true;
    if (how == 3) node.frozen = false;
    if (how == 4 && !node.frozen) node.StartDaemon();
    if (how == 5 && !node.frozen) node.StartKeeper();
  }
  void HealAll() {
    for (auto& node : nodes_) {
      node->Cut(false);
      node->frozen = false;
    }
  }

  std::unique_ptr<EventLoop> loop_ = EventLoop::Create().value();
  etcd::FakeKv etcd_;
  explorer::Storage disk_;
  std::vector<std::unique_ptr<FailoverNode>> nodes_;
};

TEST_F(ManyFailoverTest, FiveNodesAllWantIt_OneAfterTheOtherIsLostAndEachTimeItIsStartedOnce) {
  Begin(5);
  for (int lost = 1; lost <= 4; ++lost) {
    Owner().Cut(true);
    ASSERT_TRUE(Until([this] { return Writers() == 0; }));
    ASSERT_TRUE(Until([this] { return Writers() == 1; }));
    EXPECT_EQ(Starts(), lost + 1);
  }
  HealAll();
  After(10'000);
  EXPECT_EQ(Starts(), 5);
  EXPECT_EQ(Writers(), 1);
}

struct ManyFailoverRandomTest : ManyFailoverTest, ::testing::WithParamInterface<unsigned> {};

TEST_P(ManyFailoverRandomTest, WhateverBefallsThem_OneAtATimeAndOneInTheEnd) {
  std::mt19937 random(GetParam());
  Begin(3 + GetParam() % 3);
  for (int event = 0; event < 25 && !HasFatalFailure(); ++event) {
    Harm(*nodes_[random() % nodes_.size()], static_cast<unsigned>(random() % 6));
    After(100 + static_cast<std::int64_t>(random() % 4'000));
  }
  HealAll();
  EXPECT_TRUE(Until([this] { return Writers() == 1; }));
}

INSTANTIATE_TEST_SUITE_P(Seeds, ManyFailoverRandomTest, ::testing::Range(1U, 10U));

}  // namespace
}  // namespace gemel::daemon
