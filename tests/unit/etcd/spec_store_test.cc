#include "etcd/spec_store.h"

#include <gtest/gtest.h>

#include "base/clock.h"
#include "etcd/codec.h"
#include "tests/fakes/fake_kv.h"

namespace gemel::etcd {
namespace {

MachineSpec Web(const std::string& machine = "a machine") {
  return {"projects/p/vms/web", machine, false, false, "", ""};
}

// One that follows the fake etcd, as a KvStore has it do.
class SpecStoreTest : public ::testing::Test {
 protected:
  SpecStoreTest() {
    const KvStore::Listener listener = store_.listener();
    following_ =
        kv_.Follow(RangeOf(Scope::kAll), {listener.on_snapshot, listener.on_events, nullptr});
  }
  Result<std::uint32_t> Create(const MachineSpec& spec) {
    Result<std::uint32_t> created = MakeError(Code::kUnknown, "no answer");
    store_.Create(spec, [&](const Result<std::uint32_t>& number) { created = number; });
    return created;
  }
  Status Update(std::uint32_t vm, cluster::Revision changed, const MachineSpec& spec,
                bool alone = false) {
    Status updated = MakeError(Code::kUnknown, "no answer");
    store_.Update(vm, changed, spec, alone, [&](const Status& status) { updated = status; });
    return updated;
  }

  FakeKv kv_;
  SpecStore store_{&kv_};
  std::unique_ptr<Following> following_;
};

TEST_F(SpecStoreTest, Created_IsSeenWithItsNumberAndName) {
  ASSERT_EQ(Create(Web()).value(), 1u);
  EXPECT_EQ(store_.specs().at(1).value, Web());
  EXPECT_EQ(store_.Find("projects/p/vms/web"), 1u);
  EXPECT_EQ(DecodeName(kv_.keys.at(NameKey("projects/p/vms/web")).value).value(), 1u);
}

TEST_F(SpecStoreTest, NameTaken_IsRefused) {
  ASSERT_TRUE(Create(Web()).has_value());
  EXPECT_EQ(Create(Web()).error().code, Code::kAlreadyExists);
}

TEST_F(SpecStoreTest, NameTakenUnseen_IsRefusedAndNothingChanges) {
  kv_.Put(NameKey("projects/p/vms/web"), EncodeName(9));
  EXPECT_EQ(Create(Web()).error().code, Code::kAborted);
  EXPECT_TRUE(store_.specs().empty());
  EXPECT_FALSE(kv_.keys.contains(std::string(kLastVmKey)));
}

TEST_F(SpecStoreTest, UpdateOfWhatWasNotSeen_IsRefused) {
  ASSERT_TRUE(Create(Web()).has_value());
  const cluster::Revision seen = store_.specs().at(1).changed;
  ASSERT_TRUE(Update(1, seen, Web("another")).has_value());
  EXPECT_EQ(Update(1, seen, Web("a third")).error().code, Code::kAborted);
  EXPECT_EQ(store_.specs().at(1).value.machine, "another");
}

// What must be unique among machines cannot be given twice by two nodes.
TEST_F(SpecStoreTest, UpdatedAloneWhileAnotherIsMade_IsRefused) {
  ASSERT_TRUE(Create(Web()).has_value());
  const cluster::Revision seen = store_.specs().at(1).changed;
  following_.reset();  // what another node does is not seen
  kv_.Put(std::string(kLastVmKey), EncodeLastVm(2));
  EXPECT_EQ(Update(1, seen, Web("another"), true).error().code, Code::kAborted);
  EXPECT_TRUE(Update(1, seen, Web("another")).has_value());
}

TEST_F(SpecStoreTest, UpdatedAlone_RefusesWhatWasPlannedBefore) {
  ASSERT_TRUE(Create(Web()).has_value());
  SpecStore other(&kv_);
  const KvStore::Listener listener = other.listener();
  auto following =
      kv_.Follow(RangeOf(Scope::kAll), {listener.on_snapshot, listener.on_events, nullptr});
  following.reset();
  ASSERT_TRUE(Update(1, store_.specs().at(1).changed, Web("another"), true).has_value());
  other.Create(
      {"projects/p/vms/db", "a machine", false, false, "", ""},
      [](const Result<std::uint32_t>& number) { EXPECT_EQ(number.error().code, Code::kAborted); });
  ASSERT_TRUE(Update(1, store_.specs().at(1).changed, Web("a third"), true).has_value());
  EXPECT_EQ(Create({"projects/p/vms/db", "a machine", false, false, "", ""}).value(), 2u);
}

TEST_F(SpecStoreTest, NumbersUnreadable_NothingIsChangedAlone) {
  ASSERT_TRUE(Create(Web()).has_value());
  const cluster::Revision seen = store_.specs().at(1).changed;
  kv_.Put(std::string(kLastVmKey), "nonsense");
  EXPECT_EQ(Update(1, seen, Web("another"), true).error().code, Code::kFailedPrecondition);
}

TEST_F(SpecStoreTest, Deleted_NumberIsNeverGivenAgain) {
  ASSERT_TRUE(Create(Web()).has_value());
  store_.Delete({1, store_.specs().at(1).changed, {}, {}},
                [](const Status& status) { EXPECT_TRUE(status.has_value()); });
  EXPECT_TRUE(store_.specs().empty());
  EXPECT_EQ(Create(Web()).value(), 2u);
}

TEST_F(SpecStoreTest, TakenMeanwhile_IsNotDeleted) {
  ASSERT_TRUE(Create(Web()).has_value());
  const cluster::Revision seen = store_.specs().at(1).changed;
  kv_.Put(EncodeKey({cluster::KeyKind::kVm, 1}), "somebody's");
  store_.Delete({1, seen, {}, {}},
                [](const Status& status) { EXPECT_EQ(status.error().code, Code::kAborted); });
  EXPECT_TRUE(store_.specs().contains(1));
}

TEST_F(SpecStoreTest, NoAnswer_IsSaidToBeUnknown) {
  kv_.reachable = false;
  Result<std::uint32_t> created = 0u;
  store_.Create(Web(), [&](const Result<std::uint32_t>& number) { created = number; });
  kv_.FailCalls();
  EXPECT_EQ(created.error().code, Code::kUnavailable);
}

TEST_F(SpecStoreTest, LaterFormat_IsKeptAsUnreadable) {
  std::string later = EncodeSpec(Web());
  later[1] = 2;  // ClusterValue.format
  kv_.Put(SpecKey(7), later);
  EXPECT_NE(store_.specs().at(7).unreadable, "");
  EXPECT_EQ(store_.Find("projects/p/vms/web"), 0u);
}

TEST_F(SpecStoreTest, NodeInfo_ComesBack) {
  NodeInfo info{"a", "10.0.0.1:7443", "1.0", 60ull << 30, true};
  info.networks = {{"projects/p/networks/lan",
                    "10.88.0.0/24",
                    "10.88.0.9",
                    "10.88.0.99",
                    true,
                    "it is down",
                    {0x0a580002, 0x0a580003}},
                   {"projects/p/networks/office", "", "", "", false, "", {}}};
  store_.PutNode(1, {}, info, [](const Status& status) { EXPECT_TRUE(status.has_value()); });
  EXPECT_EQ(store_.nodes().at(1).value, info);
}

TEST(SpecCodec, RubbishIsRefused) {
  EXPECT_FALSE(DecodeSpec("rubbish").has_value());
  EXPECT_FALSE(DecodeSpec(EncodeName(1)).has_value());
  EXPECT_FALSE(DecodeInfo(EncodeInfo({})).has_value());
  EXPECT_FALSE(VmOfSpecKey("/gemel/specs/last").has_value());
  EXPECT_FALSE(VmOfSpecKey("/gemel/specs/01").has_value());
  EXPECT_EQ(VmOfSpecKey("/gemel/specs/12"), 12u);
}

}  // namespace
}  // namespace gemel::etcd
