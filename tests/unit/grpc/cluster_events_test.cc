#include "grpc/cluster_events.h"

#include <gtest/gtest.h>

#include "etcd/spec_codec.h"
#include "grpc/api_error.h"
#include "tests/fakes/fake_kv.h"

namespace gemel::daemon {
namespace {

constexpr std::uint64_t kIncarnation = 1;

// What a node has told.
class Records : public ClusterRecords {
 public:
  bool TakeSpec(const ClusterSpec& /*spec*/) override { return true; }
  bool DropSpec(const VmUid& /*uid*/) override { return true; }
  v1::VirtualMachine StoppedSpec(const VmUid& /*uid*/) const override { return {}; }
  void OnStanding(const VmUid& /*uid*/, const ClusterStanding& /*standing*/) override {}
  void PrepareClusterStart(const VmUid& uid, Prepared done) override {
    done(std::unexpected(ResourceNotFound("vm", uid)));
  }
  void OnClusterBegun(const VmUid& /*uid*/) override {}
  void OnClusterEnded(const VmUid& /*uid*/) override {}
  std::vector<etcd::NodeNetwork> Networks() const override { return {}; }
  ApiResult<std::vector<DiskConfig>> DisksOf(const VmUid& uid) const override {
    return std::unexpected(ResourceNotFound("vm", uid));
  }
  std::map<std::string, std::uint64_t> TakenEvents() const override {
    std::map<std::string, std::uint64_t> taken;
    for (const v1::Event& event : told) taken[event.decision().node()] = event.decision().number();
    return taken;
  }
  bool TakeEvents(const std::vector<v1::Event>& events) override {
    if (full) return false;
    told.insert(told.end(), events.begin(), events.end());
    return true;
  }

  std::vector<v1::Event> told;
  bool full = false;  // its disk
};

// A node's gemeld, which may end and begin again.
struct Node {
  Node(cluster::NodeId number, std::string name, etcd::FakeKv* etcd)
      : number_(number), name_(std::move(name)), etcd_(etcd) {
    Begin();
  }
  void Begin() {
    End();
    events = std::make_unique<ClusterEvents>(number_, name_, etcd_, &records);
    listener_ = events->listener();
    following_ = etcd_->Follow(
        {"/gemel/", "/gemel0"},
        {[this](const etcd::KvSnapshot& snapshot) { listener_.on_snapshot(snapshot); },
         [this](const std::vector<etcd::KeyEvent>& news) { listener_.on_events(news); },
         [](const Error&) {}});
  }
  void End() {
    following_.reset();
    events.reset();
  }
  void Tell(const std::string& message) {
    events->Tell(v1::EVENT_TYPE_TAKEN_OVER, "projects/p/vms/v", "uid", "1.7", "NODE_LOST", message,
                 1'500'000'000);
  }
  void Run(int times = 1) {
    for (int i = 0; i < times; ++i) events->Run(true, kIncarnation);
  }
  std::vector<std::string> Messages() const {
    std::vector<std::string> messages;
    for (const v1::Event& event : records.told) messages.push_back(event.message());
    return messages;
  }

  Records records;
  std::unique_ptr<ClusterEvents> events;

 private:
  const cluster::NodeId number_;
  const std::string name_;
  etcd::FakeKv* const etcd_;
  etcd::KvStore::Listener listener_;
  std::unique_ptr<etcd::Following> following_;
};

using Words = std::vector<std::string>;

struct ClusterEventsTest : ::testing::Test {
  etcd::FakeKv etcd;
  Node a{1, "a", &etcd};
  Node b{2, "b", &etcd};
};

TEST_F(ClusterEventsTest, EventThatDoesNotBelongThere_SilencesNobody) {
  a.Tell("first");
  a.Run();
  v1::Event forged;
  forged.mutable_decision()->set_node("nodes/a");
  for (const std::uint64_t number : {std::uint64_t{1} << 40, std::uint64_t{7}})
    etcd.Put("/gemel/events/2/9",
             etcd::EncodeEvent({number, kIncarnation, forged.SerializeAsString()}));
  a.Tell("second");
  a.Run(2);
  b.Run(2);
  EXPECT_EQ(b.Messages(), (Words{"first", "second"}));
}

TEST_F(ClusterEventsTest, WhatOneDecides_AllTellInOneOrder) {
  a.Tell("first");
  a.Run();
  b.Tell("second");
  b.Run();
  a.Tell("third");
  a.Run(2);
  b.Run(2);
  EXPECT_EQ(a.Messages(), (Words{"first", "second", "third"}));
  EXPECT_EQ(b.Messages(), a.Messages());
  const v1::Event& event = b.records.told[2];
  EXPECT_EQ(event.decision().node(), "nodes/a");
  EXPECT_EQ(event.decision().number(), 2u);
  EXPECT_EQ(event.decision().epoch(), "1.7");
  EXPECT_EQ(event.event_time().nanos(), 500'000'000);
  EXPECT_FALSE(event.decision().after_gap());
}

TEST_F(ClusterEventsTest, AnswerIsLost_TellsOnce) {
  etcd.answers = false;
  a.Tell("first");
  a.Run();
  etcd.answers = true;
  etcd.Answer();
  a.Run(3);
  EXPECT_EQ(b.Messages(), Words{});
  b.Run();
  EXPECT_EQ(b.Messages(), Words{"first"});
  EXPECT_EQ(a.Messages(), Words{"first"});
}

TEST_F(ClusterEventsTest, NoMember_WaitsUntilItIsOne) {
  a.Tell("first");
  a.events->Run(false, kIncarnation);
  EXPECT_EQ(etcd.commits, 0);
  a.Run(2);
  EXPECT_EQ(a.Messages(), Words{"first"});
}

TEST_F(ClusterEventsTest, CallNeverGotThere_IsWrittenAgain) {
  etcd.reachable = false;
  a.Tell("first");
  a.Run(2);
  EXPECT_EQ(etcd.commits, 1);
  etcd.reachable = true;
  etcd.FailCalls();
  a.Run(2);
  EXPECT_EQ(a.Messages(), Words{"first"});
}

TEST_F(ClusterEventsTest, WrittenAndNotSeenYet_HasOneRevision) {
  etcd.streams_hang = true;
  a.Tell("first");
  a.Run();
  const std::int64_t written = etcd.keys[etcd::EventKey(1, 1)].changed;
  a.Run(3);
  EXPECT_EQ(etcd.keys[etcd::EventKey(1, 1)].changed, written);
}

TEST_F(ClusterEventsTest, WriteOfTheProcessBefore_ArrivesLateAndNothingIsLost) {
  etcd.reachable = false;
  a.Tell("first");
  a.Run();
  a.Begin();
  a.Tell("second");
  a.Run();
  etcd.reachable = true;
  etcd.Deliver();
  a.Run(3);
  EXPECT_EQ(a.Messages(), (Words{"first", "second"}));
}

TEST_F(ClusterEventsTest, DaemonThatWasAway_TellsWhatItMissed) {
  a.Tell("first");
  a.Run(2);
  b.Run();
  b.End();
  a.Tell("second");
  a.Run(2);
  b.Begin();
  b.Run();
  EXPECT_EQ(b.Messages(), (Words{"first", "second"}));
  EXPECT_FALSE(b.records.told[1].decision().after_gap());
}

TEST_F(ClusterEventsTest, DaemonThatWasAwayForTooLong_SaysThatThereIsAGap) {
  a.Tell("first");
  a.Run(2);
  b.Run();
  b.End();
  for (std::uint64_t i = 0; i <= etcd::kEventSlots; ++i) {
    a.Tell("more");
    a.Run();
  }
  b.Begin();
  b.Run();
  EXPECT_EQ(b.records.told.size(), 1 + etcd::kEventSlots);
  EXPECT_TRUE(b.records.told[1].decision().after_gap());
  EXPECT_FALSE(b.records.told[2].decision().after_gap());
}

TEST_F(ClusterEventsTest, NodeWithoutAPast_TellsNoOldNews) {
  a.Tell("old");
  a.Run(2);
  Node c(3, "c", &etcd);
  a.Tell("new");
  a.Run(2);
  c.Run();
  EXPECT_EQ(c.Messages(), Words{"new"});
  EXPECT_TRUE(c.records.told[0].decision().after_gap());
}

TEST_F(ClusterEventsTest, NodeThatForgot_CountsOn) {
  a.Tell("first");
  a.Run(2);
  b.Run();
  a.records.told.clear();
  a.Begin();
  a.Tell("second");
  a.Run(2);
  b.Run();
  EXPECT_EQ(b.Messages(), (Words{"first", "second"}));
}

TEST_F(ClusterEventsTest, StoreIsFull_TellsLater) {
  b.records.full = true;
  a.Tell("first");
  a.Run(2);
  b.Run();
  b.records.full = false;
  b.Run();
  EXPECT_EQ(b.Messages(), Words{"first"});
}

TEST_F(ClusterEventsTest, NonsenseInEtcd_IsPassedOver) {
  etcd.Put(etcd::EventKey(2, 1), "nonsense");
  a.Tell("first");
  a.Run(2);
  EXPECT_EQ(a.Messages(), Words{"first"});
}

}  // namespace
}  // namespace gemel::daemon
