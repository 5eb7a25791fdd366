#include "member/admission.h"

#include "etcd/codec.h"
#include "etcd/override.h"
#include "etcd/spec_codec.h"
#include "member/token.h"
#include "proto/member/member.pb.h"
#include "tests/unit/member/member_fixture.h"

namespace gemel::member {
namespace {

namespace wire = internal::member;

class AdmissionTest : public MemberFixture {
 protected:
  void SetUp() override {
    MemberFixture::SetUp();
    admission_ = std::make_unique<Admission>(
        config_.get(),
        [this](Admission::Ask) -> Result<std::unique_ptr<etcd::Admin>> {
          return std::make_unique<etcd::FakeEtcdAdmin>(&etcd_);
        },
        [] { return kNow; });
  }
  std::string Invite(cluster::Role role = cluster::Role::kNode) {
    const auto invited = admission_->Invite(role, 3600);
    return DecodeToken(invited.value_or(Admission::Invited{}).token)->secret;
  }
  static wire::JoinRequest Request(const std::string& secret, const std::string& name = "b") {
    wire::JoinRequest request;
    request.set_secret(secret);
    request.set_protocol(1);
    request.set_version("0.1.0");
    request.set_role(wire::ROLE_NODE);
    request.set_name(name);
    request.set_address("10.0.0.2");
    request.set_client_port(2379);
    request.set_peer_port(2380);
    return request;
  }

  std::unique_ptr<Admission> admission_;
  wire::JoinResponse answer_;
};

TEST_F(AdmissionTest, NodeThatJoins_GetsNumberAndSecretsButNoVote) {
  ASSERT_TRUE(admission_->Join(Request(Invite()), &answer_));
  EXPECT_EQ(answer_.cluster(), "rack7");
  EXPECT_EQ(answer_.node(), 1U);  // this fake knows of no node
  EXPECT_EQ(answer_.initial_cluster(), "a=https://10.0.0.1:2380,b=https://10.0.0.2:2380");
  EXPECT_FALSE(answer_.authority_key().empty());
  ASSERT_EQ(etcd_.members.size(), 2U);
  EXPECT_TRUE(etcd_.members[1].learner);
}

TEST_F(AdmissionTest, Witness_GetsNoKeyOfTheAuthority) {
  wire::JoinRequest request = Request(Invite(cluster::Role::kWitness), "w");
  request.set_role(wire::ROLE_WITNESS);
  ASSERT_TRUE(admission_->Join(request, &answer_));
  EXPECT_TRUE(answer_.authority_key().empty());
  EXPECT_EQ(answer_.node(), 0U);
}

struct LargeAdmissionTest : AdmissionTest {
  // So many members have a vote.
  void Grow(std::uint64_t votes) {
    for (std::uint64_t id = etcd_.members.size() + 1; id <= votes; ++id)
      Add(id, "m" + std::to_string(id), "10.0.1." + std::to_string(id));
  }
  Status JoinAsWitness() {
    wire::JoinRequest request = Request(Invite(cluster::Role::kWitness), "w");
    request.set_role(wire::ROLE_WITNESS);
    return admission_->Join(request, &answer_);
  }
};

TEST_F(LargeAdmissionTest, WitnessOfThreeOrFive_IsRefused) {
  for (const std::uint64_t votes : {3ULL, 5ULL}) {
    Grow(votes);
    const Status joined = JoinAsWitness();
    EXPECT_EQ(joined.error().code, Code::kFailedPrecondition);
    EXPECT_NE(joined.error().message.find("odd number"), std::string::npos);
    EXPECT_EQ(etcd_.members.size(), votes);
  }
}

TEST_F(LargeAdmissionTest, WitnessOfFour_HasTheFifthVote) {
  Grow(4);
  EXPECT_TRUE(JoinAsWitness());
  EXPECT_EQ(etcd_.members.size(), 5U);
}

TEST_F(LargeAdmissionTest, FifthNode_HasAVote) {
  Grow(4);
  ASSERT_TRUE(admission_->Join(Request(Invite()), &answer_));
  EXPECT_EQ(etcd_.members.size(), 5U);
  EXPECT_NE(answer_.initial_cluster(), "");
}

TEST_F(LargeAdmissionTest, SixthNode_HasNoneAndKnowsAllWhoHave) {
  Grow(5);
  ASSERT_TRUE(admission_->Join(Request(Invite()), &answer_));
  EXPECT_EQ(etcd_.members.size(), 5U);
  EXPECT_EQ(answer_.initial_cluster(), "");
  EXPECT_EQ(answer_.endpoints_size(), 5);
  EXPECT_FALSE(answer_.authority_key().empty());
  // Another may come at once: nobody waits for a vote.
  wire::JoinRequest second = Request(Invite(), "c");
  second.set_address("10.0.0.3");
  ASSERT_TRUE(admission_->Join(second, &answer_));
  EXPECT_EQ(answer_.node(), 2U);
  ASSERT_TRUE(admission_->Remove("c", false));
  EXPECT_EQ(admission_->Remove("c", false).error().code, Code::kNotFound);
  EXPECT_EQ(etcd_.members.size(), 5U);
}

TEST_F(LargeAdmissionTest, NodeWithoutAVoteThatDidNotStart_IsAbandoned) {
  Grow(5);
  const std::string secret = Invite();
  ASSERT_TRUE(admission_->Join(Request(secret), &answer_));
  EXPECT_TRUE(admission_->Abandon(secret));
  EXPECT_TRUE(admission_->Join(Request(Invite()), &answer_));
}

TEST_F(AdmissionTest, WhileOneJoins_NoOtherMay) {
  ASSERT_TRUE(admission_->Join(Request(Invite()), &answer_));
  wire::JoinRequest second = Request(Invite(), "c");
  second.set_address("10.0.0.3");
  EXPECT_EQ(admission_->Join(second, &answer_).error().code, Code::kAborted);
}

TEST_F(AdmissionTest, AdditionThatFails_LeavesNothingAndTheInvitationGood) {
  const std::string secret = Invite();
  for (const bool done_nevertheless : {false, true}) {
    etcd_.add_fails = Error{Code::kDeadlineExceeded, "no answer"};
    etcd_.add_is_done_nevertheless = done_nevertheless;
    EXPECT_FALSE(admission_->Join(Request(secret), &answer_));
    EXPECT_EQ(etcd_.members.size(), 1U);
  }
  etcd_.add_fails.reset();
  EXPECT_TRUE(admission_->Join(Request(secret), &answer_));
}

TEST_F(AdmissionTest, Abandoned_IsAsIfItHadNeverJoined) {
  const std::string secret = Invite();
  ASSERT_TRUE(admission_->Join(Request(secret), &answer_));
  EXPECT_TRUE(admission_->Abandon(secret));
  EXPECT_EQ(etcd_.members.size(), 1U);
  EXPECT_TRUE(admission_->Join(Request(Invite()), &answer_));
}

TEST_F(AdmissionTest, AbandonedWithAVote_IsRefused) {
  const std::string secret = Invite();
  ASSERT_TRUE(admission_->Join(Request(secret), &answer_));
  etcd_.members[1].learner = false;
  EXPECT_FALSE(admission_->Abandon(secret));
  EXPECT_FALSE(admission_->Abandon("guess"));
}

TEST_F(AdmissionTest, VersionsTooFarApart_AreRefused) {
  wire::JoinRequest request = Request(Invite());
  request.set_version("7.0.0");
  EXPECT_EQ(admission_->Join(request, &answer_).error().code, Code::kFailedPrecondition);
  request = Request(request.secret());
  request.set_protocol(9);
  EXPECT_EQ(admission_->Join(request, &answer_).error().code, Code::kFailedPrecondition);
}

TEST_F(AdmissionTest, WhoIsAlive_IsRemovedByForceAlone) {
  ASSERT_TRUE(admission_->Join(Request(Invite()), &answer_));
  etcd::MemberInfo& b = etcd_.members[1];
  b.learner = false;
  b.name = "b";
  b.client_urls = {"https://10.0.0.2:2379"};
  EXPECT_EQ(admission_->Remove("b", false).error().code, Code::kFailedPrecondition);
  etcd_.away.insert(b.id);
  EXPECT_TRUE(admission_->Remove("b", false));
  EXPECT_EQ(etcd_.members.size(), 1U);
  EXPECT_EQ(admission_->Remove("b", false).error().code, Code::kNotFound);
}

TEST_F(AdmissionTest, Renewal_IsForMembersAlone) {
  ASSERT_TRUE(admission_->Join(Request(Invite()), &answer_));
  wire::RenewResponse renewed;
  EXPECT_TRUE(admission_->Renew("b", "0a", &renewed));
  EXPECT_NE(renewed.member_pem(), answer_.member_pem());
  EXPECT_FALSE(admission_->Renew("stranger", "0a", &renewed));
  ASSERT_TRUE(admission_->Remove("b", true));
  EXPECT_FALSE(admission_->Renew("b", "0a", &renewed));
}

TEST_F(AdmissionTest, RevokedCertificate_RenewsNothing) {
  ASSERT_TRUE(admission_->Join(Request(Invite()), &answer_));
  const auto first = SerialsOf({answer_.member_pem(), answer_.node_pem()});
  ASSERT_TRUE(admission_->Remove("b", true));
  ASSERT_TRUE(admission_->Join(Request(Invite()), &answer_));
  const auto second = SerialsOf({answer_.member_pem(), answer_.node_pem()});
  wire::RenewResponse renewed;
  EXPECT_EQ(admission_->Renew("b", first->at(0), &renewed).error().code, Code::kPermissionDenied);
  EXPECT_TRUE(admission_->Renew("b", second->at(0), &renewed));
}

TEST_F(AdmissionTest, MachinesOfTheSameNames_AreNamed) {
  etcd_.keys[etcd::NameKey("projects/p/vms/db")] = {etcd::NameKey("projects/p/vms/db"), "", 1};
  wire::JoinRequest request = Request(Invite());
  request.add_vms("projects/p/vms/web");
  request.add_vms("projects/p/vms/db");
  const Status joined = admission_->Join(request, &answer_);
  ASSERT_FALSE(joined);
  EXPECT_TRUE(joined.error().message.starts_with("projects/p/vms/db: "));
  EXPECT_EQ(etcd_.members.size(), 1U);
}

TEST_F(AdmissionTest, OlderThanTheClustersLevel_MayNotJoin) {
  etcd_.keys[std::string(kLevelKey)] = {std::string(kLevelKey), "1", 1};
  wire::JoinRequest request = Request(Invite());
  request.set_level(0);
  EXPECT_EQ(admission_->Join(request, &answer_).error().code, Code::kFailedPrecondition);
  request.set_level(1);
  EXPECT_TRUE(admission_->Join(request, &answer_));
}

// Node a leaves; b and w stay.
class LeaveTest : public AdmissionTest {
 protected:
  void SetUp() override {
    AdmissionTest::SetUp();
    Add(2, "b", "10.0.0.2");
    Add(3, "w", "10.0.0.3");
    Put("a", 1, cluster::Role::kNode);
    Put("b", 2, cluster::Role::kNode);
    Put("w", 3, cluster::Role::kWitness);
  }
  void Put(const std::string& name, std::uint64_t id, cluster::Role role) {
    Record record;
    record.name = name;
    record.role = role;
    record.node = role == cluster::Role::kNode ? static_cast<cluster::NodeId>(id) : 0;
    record.member_id = id;
    etcd_.keys[RecordKey(name)] = {RecordKey(name), EncodeRecord(record), 1};
  }
  void PutKey(const std::string& key, const std::string& value) {
    etcd_.keys[key] = {key, value, 1};
  }
  std::string Refusal(bool force = false) {
    const Status removed = admission_->Remove("a", force);
    return removed ? "" : removed.error().message;
  }
};

TEST_F(LeaveTest, NeverRanMachines_MayLeave) { EXPECT_EQ(Refusal(), ""); }

TEST_F(LeaveTest, NotDrained_IsRefusedAndForceIsRecorded) {
  etcd::NodeInfo info;
  info.name = "a";
  PutKey(etcd::InfoKey(1), etcd::EncodeInfo(info));
  EXPECT_EQ(Refusal(), "a was not drained: gemel node drain a, or say --force");
  info.drained = true;
  PutKey(etcd::InfoKey(1), etcd::EncodeInfo(info));
  EXPECT_EQ(Refusal(), "");
}

TEST_F(LeaveTest, MachinesLeft_AreCountedAndForceIsRecorded) {
  cluster::Ownership owned;
  owned.owner = 1;
  owned.state = cluster::VmState::kRunning;
  owned.session = {1, 1};
  owned.epoch = {1, 1};
  PutKey(etcd::EncodeKey({cluster::KeyKind::kVm, 7}), etcd::EncodeOwnership(owned));
  EXPECT_TRUE(Refusal().starts_with("a still has 1 machines"));
  EXPECT_EQ(Refusal(true), "");
  const auto found = etcd::FakeEtcdAdmin(&etcd_).Read(etcd::OverrideRange());
  ASSERT_EQ(found->keys.size(), 1U);
  const Result<etcd::Override> said = etcd::DecodeOverride(found->keys[0].value);
  ASSERT_TRUE(said);
  EXPECT_TRUE(said->text.starts_with("a removed by force on a: a still has"));
}

TEST_F(LeaveTest, RestWithoutMajority_IsRefusedWhateverIsSaid) {
  etcd_.away.insert(2);
  EXPECT_TRUE(Refusal(true).starts_with("b is away: without a the rest has no majority"));
}

TEST_F(LeaveTest, LastNode_IsRefusedWhateverIsSaid) {
  ASSERT_TRUE(admission_->Remove("b", true));
  EXPECT_TRUE(Refusal(true).starts_with("a is the last node"));
}

}  // namespace
}  // namespace gemel::member
