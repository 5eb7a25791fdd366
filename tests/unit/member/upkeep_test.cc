#include "member/upkeep.h"

#include "etcd/spec_codec.h"
#include "member/etcd_words.h"
#include "member/renewal.h"
#include "pki/certificate.h"
#include "pki/revocation_list.h"
#include "tests/unit/member/member_fixture.h"

namespace gemel::member {
namespace {

class UpkeepTest : public MemberFixture {
 protected:
  void SetUp() override {
    MemberFixture::SetUp();
    Put(Named("a", 1));
  }
  static Record Named(const std::string& name, std::uint64_t member_id) {
    Record record;
    record.name = name;
    record.node = 1;
    record.member_id = member_id;
    record.level = kFeatureLevel;
    return record;
  }
  void Put(const Record& record) {
    etcd::KvTxn txn;
    txn.puts = {{RecordKey(record.name), EncodeRecord(record)}};
    ASSERT_TRUE(etcd::FakeEtcdAdmin(&etcd_).Commit(txn));
  }
  Record Get(const std::string& name) {
    const auto found = DecodeRecords({etcd_.keys.at(RecordKey(name))});
    return found ? found->at(0) : Record();
  }
  Result<Upkeep> Keep(std::uint32_t level = kFeatureLevel) {
    etcd::FakeEtcdAdmin admin(&etcd_);
    return KeepRecords(admin, config_->Get(), etcd_.members, kNow, level);
  }
  std::set<std::string> Revoked() {
    const auto list = ReadTextFile(RevocationFile(config_->Get()));
    const auto authority = ReadTextFile(config_->Get().ca);
    return pki::ReadRevocationList(list.value_or(""), *authority).value_or(std::set<std::string>());
  }
};

TEST_F(UpkeepTest, OwnRecord_SaysWhatThisMachineIsNow) {
  ASSERT_TRUE(Keep());
  EXPECT_EQ(Get("a").version, GEMEL_VERSION);
  EXPECT_EQ(Get("a").serials, *OwnSerials(config_->Get()));
}

TEST_F(UpkeepTest, SecondLook_ChangesNothing) {
  ASSERT_TRUE(Keep());
  ASSERT_TRUE(Keep());
  const std::int64_t revision = etcd_.revision;
  ASSERT_TRUE(Keep());
  EXPECT_EQ(etcd_.revision, revision);
}

TEST_F(UpkeepTest, WhoLeft_IsRevokedOnceEtcdHasLetItGo) {
  Add(2, "b", "10.0.0.2");
  Record b = Named("b", 2);
  b.left = true;
  b.serials = {"1b"};
  Put(b);
  etcd_.keys[etcd::InfoKey(b.node)] = {etcd::InfoKey(b.node), "b is here", 1};
  ASSERT_TRUE(Keep());
  ASSERT_TRUE(Keep());
  EXPECT_TRUE(Revoked().empty());
  EXPECT_TRUE(etcd_.keys.contains(etcd::InfoKey(b.node)));
  etcd_.members.pop_back();
  ASSERT_TRUE(Keep());
  ASSERT_TRUE(Keep());  // the list is signed by one look, and in the file by the next
  EXPECT_EQ(Revoked(), std::set<std::string>{"1b"});
  EXPECT_TRUE(Get("b").serials.empty());
  EXPECT_FALSE(etcd_.keys.contains(etcd::InfoKey(b.node)));
}

TEST_F(UpkeepTest, ListOfAnotherAuthority_IsNotTaken) {
  ASSERT_TRUE(Keep());
  ASSERT_TRUE(Keep());
  cluster::ClusterConfig config = config_->Get();
  config.member.authority_key.clear();  // else it would mend it
  ASSERT_TRUE(config_->Set(config));
  const auto other = MakeClusterAuthority("other", kNow);
  const auto list = MakeClusterRevocationList({"0a"}, other->certificate_pem, other->key_pem, kNow);
  etcd_.keys[std::string(kRevokedKey)].value = *list;
  EXPECT_FALSE(Keep());
  EXPECT_TRUE(Revoked().empty());
}

TEST_F(UpkeepTest, Level_IsTheLowestOfAllAndOnlyRises) {
  ASSERT_TRUE(Keep(1));
  EXPECT_EQ(Keep(1)->level, 1U);
  // Half way through an upgrade: b is of the version before.
  Record b = Named("b", 2);
  b.level = 1;
  Put(b);
  EXPECT_EQ(Keep(2)->level, 1U);
  b.level = 2;
  Put(b);
  Keep(2).value();
  EXPECT_EQ(Keep(2)->level, 2U);
  // Who left does not hold the others back, and nothing goes down again.
  b.level = 1;
  Put(b);
  EXPECT_EQ(Keep(2)->level, 2U);
}

TEST_F(UpkeepTest, RecordsOfALaterLevel_AreRefused) {
  ASSERT_TRUE(Keep(2));
  Keep(2).value();
  const auto kept = Keep(1);
  ASSERT_FALSE(kept);
  EXPECT_NE(kept.error().message.find("upgrade Gemel here"), std::string::npos);
}

class RenewalTest : public UpkeepTest {
 protected:
  Status Look(std::int64_t now) {
    etcd::FakeEtcdAdmin admin(&etcd_);
    Renewal renewal([this](const cluster::ClusterConfig&, const std::string& at) {
      asked_ = at;
      return answer_;
    });
    return renewal.Look(admin, config_->Get(), {Get("a")}, now);
  }
  std::int64_t Until() {
    return pki::ReadCertificate(*ReadTextFile(config_->Get().member.certificate))->not_after;
  }
  std::string asked_;
  Result<Credentials> answer_ = MakeError(Code::kUnavailable, "nobody");
};

TEST_F(RenewalTest, TwoThirdsOfItsLifeOver_NodeSignsItsOwnAndRecordsIt) {
  const std::int64_t before = Until();
  ASSERT_TRUE(Look(kNow + 59 * kDay));
  EXPECT_EQ(Until(), before);
  ASSERT_TRUE(Look(kNow + 61 * kDay));
  EXPECT_EQ(Until(), before + 61 * kDay);
  const auto serials = OwnSerials(config_->Get());
  EXPECT_EQ(Get("a").serials, *serials);
}

TEST_F(RenewalTest, Witness_AsksANode) {
  const cluster::ClusterConfig node = config_->Get();
  answer_ = IssueCredentials("a", "10.0.0.1", cluster::Role::kNode, *ReadTextFile(node.ca),
                             *ReadTextFile(node.member.authority_key), kNow + 61 * kDay);
  cluster::ClusterConfig config = node;
  config.member.authority_key.clear();
  ASSERT_TRUE(config_->Set(config));
  Record a = Get("a");
  a.address = "10.0.0.9";
  a.join_port = 7;
  Put(a);
  const std::int64_t before = Until();
  ASSERT_TRUE(Look(kNow + 61 * kDay));
  EXPECT_EQ(asked_, "10.0.0.9:7");
  EXPECT_EQ(Until(), before + 61 * kDay);
}

TEST_F(RenewalTest, NobodyRenews_TheOldOnesStay) {
  cluster::ClusterConfig config = config_->Get();
  config.member.authority_key.clear();
  ASSERT_TRUE(config_->Set(config));
  const std::int64_t before = Until();
  EXPECT_FALSE(Look(kNow + 61 * kDay));
  EXPECT_EQ(Until(), before);
}

}  // namespace
}  // namespace gemel::member
