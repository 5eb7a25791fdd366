#include "grpc/event_log.h"

#include <gtest/gtest.h>

namespace gemel::daemon {
namespace {

v1::Event Own() {
  v1::Event event;
  event.set_resource("projects/p/vms/v");
  return event;
}

v1::Event Clusters(std::int64_t revision, bool after_gap = false) {
  v1::Event event = Own();
  event.mutable_decision()->set_node("nodes/a");
  event.mutable_decision()->set_incarnation(1);
  event.mutable_decision()->set_revision(revision);
  event.mutable_decision()->set_after_gap(after_gap);
  return event;
}

std::string NewestOf(const EventLog& log) { return log.TokenOf(log.last()); }

// The cluster's events that a watch with this token is told.
std::vector<std::int64_t> Told(const EventLog& log, const std::string& token) {
  std::vector<std::int64_t> told;
  const auto place = log.Resume(token);
  if (!place) return {-1};
  for (const auto& [sequence, event] : log.Kept(place->sequence))
    if (event->has_decision() && EventLog::PositionOf(*event) > place->seen)
      told.push_back(event->decision().revision());
  return told;
}

struct EventLogTest : testing::Test {
  EventLog a{"aaaa"}, b{"bbbb"};
};

TEST_F(EventLogTest, OwnToken_GoesOnWhereItWas) {
  a.Append(1, Own());
  const std::string token = NewestOf(a);
  a.Append(2, Clusters(10));
  EXPECT_EQ(a.Resume(token)->sequence, 1u);
  EXPECT_EQ(Told(a, token), std::vector<std::int64_t>{10});
  EXPECT_TRUE(Told(a, NewestOf(a)).empty());
}

TEST_F(EventLogTest, OtherNodesToken_GoesOnAfterTheClustersLastEvent) {
  a.Append(1, Clusters(10));
  a.Append(2, Own());
  const std::string token = NewestOf(a);
  std::uint64_t sequence = 0;
  for (const std::int64_t revision : {10, 12, 15}) b.Append(++sequence, Clusters(revision));
  EXPECT_EQ(Told(b, token), (std::vector<std::int64_t>{12, 15}));
}

TEST_F(EventLogTest, OtherNodeWasAhead_NothingIsToldTwice) {
  for (const std::int64_t revision : {10, 12}) a.Append(a.last() + 1, Clusters(revision));
  b.Append(1, Clusters(10));
  const auto place = b.Resume(NewestOf(a));
  ASSERT_TRUE(place.has_value());
  b.Append(2, Clusters(12));
  b.Append(3, Clusters(13));
  EXPECT_EQ(Told(b, NewestOf(a)), std::vector<std::int64_t>{13});
}

TEST_F(EventLogTest, OtherNodesTokenOfBeforeAGap_HasExpired) {
  a.Append(1, Clusters(10));
  const std::string token = NewestOf(a);
  b.Append(1, Clusters(9));
  b.Append(2, Clusters(20, true));
  EXPECT_EQ(Told(b, token), std::vector<std::int64_t>{-1});
  EXPECT_EQ(b.Resume(token).error().code(), static_cast<int>(Code::kOutOfRange));
}

TEST_F(EventLogTest, OtherNodesTokenOlderThanWhatIsKept_HasExpired) {
  a.Append(1, Clusters(10));
  b.Append(7, Clusters(12));
  EXPECT_EQ(Told(b, NewestOf(a)), std::vector<std::int64_t>{-1});
}

TEST_F(EventLogTest, TokensOfNothingOfTheClusters_AreOfOneNode) {
  a.Append(1, Own());
  b.Append(1, Clusters(10));
  EXPECT_EQ(Told(b, NewestOf(a)), std::vector<std::int64_t>{-1});
  for (const char* nonsense :
       {"aaaa.1@", "aaaa.1@1", "aaaa.1@x.2", "aaaa.1@1.2x", "@1.2", "aaaa@1.2"})
    EXPECT_FALSE(b.Resume(nonsense).has_value()) << nonsense;
}

TEST_F(EventLogTest, AfterARestore_EarlierEventsAreEarlier) {
  a.Append(1, Clusters(100));
  const std::string token = NewestOf(a);
  b.Append(1, Clusters(100));
  v1::Event later = Clusters(5);
  later.mutable_decision()->set_incarnation(2);
  b.Append(2, later);
  EXPECT_EQ(Told(b, token), std::vector<std::int64_t>{5});
}

}  // namespace
}  // namespace gemel::daemon
