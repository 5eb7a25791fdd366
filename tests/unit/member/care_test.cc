#include "member/care.h"

#include <set>

#include "member/etcd_words.h"
#include "member/record.h"
#include "tests/unit/member/member_fixture.h"

namespace gemel::member {
namespace {

class CareTest : public MemberFixture {
 protected:
  void Look() { care_->Look(*std::make_unique<etcd::FakeEtcdAdmin>(&etcd_)); }
  void SetUp() override {
    MemberFixture::SetUp();
    care_ = std::make_unique<Care>(
        config_.get(), "machine", [](const cluster::ClusterConfig&) {},
        [](const cluster::ClusterConfig&, const std::string&) -> Result<Credentials> {
          return MakeError(Code::kUnavailable, "nobody is asked here");
        });
  }
  void SetState(const std::string& state) {
    cluster::ClusterConfig config = config_->Get();
    config.member.initial_state = state;
    ASSERT_TRUE(config_->Set(config));
  }
  std::unique_ptr<Care> care_;
};

TEST_F(CareTest, FirstMember_FoundsOnce) {
  SetState("new");
  Look();
  EXPECT_TRUE(etcd_.keys.contains("/gemel/nodes/incarnation"));
  EXPECT_TRUE(etcd_.keys.contains(RecordKey("a")));
  EXPECT_EQ(config_->Get().member.initial_state, "");
  EXPECT_EQ(cluster::ReadClusterConfig(config_->path())->member.initial_state, "");
  const std::int64_t revision = etcd_.revision;
  Look();
  EXPECT_EQ(etcd_.revision, revision);
}

TEST_F(CareTest, WhoJoined_FoundsNothing) {
  SetState("existing");
  Look();
  EXPECT_TRUE(etcd_.keys.empty());
  EXPECT_EQ(config_->Get().member.initial_state, "");
}

TEST_F(CareTest, Endpoints_AreAllThatVoteTheOwnFirst) {
  Add(3, "w", "10.0.0.3");
  Add(2, "b", "10.0.0.2");
  Add(4, "c", "10.0.0.4");
  etcd_.members.back().learner = true;
  etcd_.promotes = false;
  Look();
  EXPECT_EQ(config_->Get().endpoints,
            (std::vector<std::string>{"10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"}));
}

TEST_F(CareTest, NodeWithoutEtcd_IsWellWhenOthersLeadAndBeginsWithAnotherThanItsNeighbour) {
  etcd_.members.clear();
  Add(2, "b", "10.0.0.2");
  Add(3, "c", "10.0.0.3");
  etcd_.leader = 2;
  etcd_.away.insert(2);
  cluster::ClusterConfig config = config_->Get();
  config.endpoints = {"10.0.0.2:2379", "10.0.0.3:2379"};
  config.member.initial_state = kClientState;
  std::set<std::string> first;
  for (config.node = 6; config.node <= 7; ++config.node) {
    ASSERT_TRUE(config_->Set(config));
    Look();
    EXPECT_TRUE(care_->health().voting);
    EXPECT_EQ(config_->Get().endpoints.size(), 2U);
    EXPECT_EQ(config_->Get().member.initial_state, kClientState);
    first.insert(config_->Get().endpoints[0]);
  }
  EXPECT_EQ(first.size(), 2U);
  EXPECT_FALSE(etcd_.keys.contains("/gemel/nodes/incarnation"));
}

TEST_F(CareTest, LearnerThatStarted_GetsItsVote) {
  Add(2, "b", "10.0.0.2");
  etcd_.members.back().learner = true;
  Look();
  EXPECT_FALSE(etcd_.members.back().learner);
}

TEST_F(CareTest, WitnessThatLeads_GivesItToOneThatAnswers) {
  cluster::ClusterConfig config = config_->Get();
  config.role = cluster::Role::kWitness;
  config.node = 0;
  config.member.authority_key.clear();
  ASSERT_TRUE(config_->Set(config));
  Add(2, "b", "10.0.0.2");
  Add(3, "c", "10.0.0.3");
  etcd_.away.insert(2);
  Look();
  EXPECT_EQ(etcd_.leader, 3U);
}

TEST_F(CareTest, NodeThatLeads_GoesOnLeading) {
  Add(2, "b", "10.0.0.2");
  Look();
  EXPECT_EQ(etcd_.leader, 1U);
}

TEST_F(CareTest, WhatIsWrong_IsSaid) {
  Add(2, "b", "10.0.0.2");
  etcd_.away.insert(2);
  etcd_.alarms = {{2, true}};
  Look();
  const Health health = care_->health();
  EXPECT_TRUE(health.voting && health.led);
  ASSERT_EQ(health.alarms.size(), 1U);
  EXPECT_NE(health.alarms[0].find("NOSPACE: etcd of b"), std::string::npos);
  EXPECT_NE(health.members[1].trouble, "");
  etcd_.leader = 0;
  Look();
  EXPECT_NE(care_->health().trouble, "");
}

}  // namespace
}  // namespace gemel::member
