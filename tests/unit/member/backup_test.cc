#include "member/backup.h"

#include "etcd/codec.h"
#include "etcd/spec_codec.h"
#include "member/record.h"
#include "tests/unit/member/member_fixture.h"

namespace gemel::member {
namespace {

constexpr char kIncarnation[] = "/gemel/nodes/incarnation";

class BackupTest : public MemberFixture {
 protected:
  void SetUp() override {
    MemberFixture::SetUp();
    Put(kIncarnation, etcd::EncodeIncarnation(3));
    for (int i = 0; i < 40; ++i) Put(fmt::format("/gemel/specs/{}", i), fmt::format("spec {}", i));
    Record b;
    b.name = "b";
    b.node = 2;
    Put(RecordKey("b"), EncodeRecord(b));
  }
  void Put(const std::string& key, const std::string& value) {
    etcd_.keys[key] = {key, value, ++etcd_.revision};
  }
};

TEST_F(BackupTest, WhatIsTaken_IsReadBack) {
  etcd::FakeEtcdAdmin admin(&etcd_);
  const auto taken = TakeBackup(admin, "rack7", kNow);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->incarnation, 3U);
  EXPECT_EQ(taken->keys.size(), 41U);
  const auto read = DecodeBackup(EncodeBackup(*taken));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->cluster, "rack7");
  EXPECT_EQ(read->keys.size(), 41U);
  EXPECT_EQ(read->keys[7].value, taken->keys[7].value);
}

TEST_F(BackupTest, Damage_IsNoticed) {
  etcd::FakeEtcdAdmin admin(&etcd_);
  std::string bytes = EncodeBackup(*TakeBackup(admin, "rack7", kNow));
  EXPECT_FALSE(DecodeBackup(bytes.substr(0, bytes.size() - 1)));
  bytes[bytes.size() / 2] ^= 1;
  EXPECT_EQ(DecodeBackup(bytes).error().code, Code::kDataLoss);
  EXPECT_FALSE(DecodeBackup(""));
}

TEST_F(BackupTest, Restored_HasTheNewIncarnationAndNobodyElse) {
  etcd::FakeEtcdAdmin admin(&etcd_);
  Backup backup = *TakeBackup(admin, "rack7", kNow);
  backup.incarnation = 9;
  etcd::FakeEtcdAdmin::State fresh;
  etcd::FakeEtcdAdmin other(&fresh);
  ASSERT_TRUE(WriteBackup(other, backup, "a"));
  EXPECT_EQ(etcd::DecodeIncarnation(fresh.keys[kIncarnation].value), 9U);
  EXPECT_EQ(fresh.keys[kIncarnation].changed, fresh.revision);  // last of all
  EXPECT_EQ(fresh.keys.size(), 42U);
  EXPECT_TRUE(DecodeRecords({fresh.keys[RecordKey("b")]})->at(0).left);
  // Once there is a cluster, nothing of it is written again.
  const std::int64_t revision = fresh.revision;
  EXPECT_TRUE(WriteBackup(other, backup, "a"));
  EXPECT_EQ(fresh.revision, revision);
}

TEST_F(BackupTest, Restored_GivesNoNumberThatAMachineHadSinceTheBackup) {
  Put(std::string(etcd::kLastVmKey), etcd::EncodeLastVm(7));
  etcd::FakeEtcdAdmin admin(&etcd_);
  const Backup backup = *TakeBackup(admin, "rack7", kNow);
  etcd::FakeEtcdAdmin::State fresh;
  etcd::FakeEtcdAdmin other(&fresh);
  ASSERT_TRUE(WriteBackup(other, backup, "a"));
  EXPECT_EQ(etcd::DecodeLastVm(fresh.keys[std::string(etcd::kLastVmKey)].value), 100'007U);
}

TEST_F(BackupTest, EtcdOfNoCluster_HasNoBackup) {
  etcd_.keys.clear();
  etcd::FakeEtcdAdmin admin(&etcd_);
  EXPECT_FALSE(TakeBackup(admin, "rack7", kNow));
}

}  // namespace
}  // namespace gemel::member
