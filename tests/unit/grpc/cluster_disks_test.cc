// What is claimed of a machine's disks, without a target; with one: tests/cluster/test_iscsi_failover.py.
#include "grpc/cluster_disks.h"

#include <gtest/gtest.h>

#include <optional>

namespace gemel::daemon {
namespace {

using cluster::StorageAnswer;
using Op = cluster::StorageCommand::Op;

constexpr ClusterVm kTheVm = 3;
constexpr cluster::StorageKey kMine{1, {1, 2}};

class ClusterDisksTest : public ::testing::Test {
 protected:
  StorageAnswer Ask(Op op) {
    std::optional<StorageAnswer> got;
    claims.Execute(kTheVm, {op, kMine, {}}, [&](const StorageAnswer& answer) { got = answer; });
    EXPECT_FALSE(got.has_value()) << "answered within the call";
    while (!got) loop->RunOnce(-1);
    return *got;
  }

  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::Create());
  Result<std::vector<DiskConfig>> disks = std::vector<DiskConfig>{};
  IscsiClusterDisks claims{{loop.get(), "iqn.2026-11.test:a", [this](ClusterVm) { return disks; }}};
};

DiskConfig OnTarget(bool readonly) {
  DiskConfig disk;
  disk.iscsi = ParseIscsiUrl("iscsi://127.0.0.1:1/iqn.2026-11.test:none/0").value();
  disk.path = IscsiUrl(*disk.iscsi);
  disk.readonly = readonly;
  return disk;
}

TEST_F(ClusterDisksTest, MachineThatWritesToNoTarget_IsOursAtOnce) {
  disks->push_back(OnTarget(true));
  for (const Op op : {Op::kRegister, Op::kPreemptAndAbort, Op::kReserve})
    EXPECT_EQ(Ask(op).result, StorageAnswer::Result::kGood);
  cluster::StorageClaim claim(kMine);
  while (claim.Next().op != Op::kNone) claim.OnAnswer(Ask(claim.Next().op), {});
  EXPECT_EQ(claim.phase(), cluster::StorageClaim::Phase::kHeld);
  EXPECT_FALSE(claims.known(kTheVm).claimed);
}

TEST_F(ClusterDisksTest, MachineWhoseDisksAreNotKnown_IsUnknown) {
  disks = InvalidArgument("no such machine");
  EXPECT_EQ(Ask(Op::kRead).result, StorageAnswer::Result::kUnknown);
  EXPECT_EQ(claims.known(kTheVm).trouble, "no such machine");
}

TEST_F(ClusterDisksTest, SecretThatCannotBeRead_IsUnknownAndNamed) {
  disks->push_back(OnTarget(false));
  (*disks)[0].iscsi->secret_file = "/no/such/secret";
  EXPECT_EQ(Ask(Op::kRead).result, StorageAnswer::Result::kUnknown);
  EXPECT_NE(claims.known(kTheVm).trouble.find("/no/such/secret"), std::string::npos);
}

TEST(SetIdentity, Grant_NamesNodeMachineAndEpoch) {
  cluster::FenceGrant grant;
  grant.epoch = {1, 2};
  SetIdentity({1, "iqn.2026-11.test:a"}, kTheVm, grant);
  EXPECT_EQ(grant.initiator, "iqn.2026-11.test:a:n1.m3.e1-2");
  EXPECT_EQ(grant.key, cluster::EncodeStorageKey(kMine));
}

}  // namespace
}  // namespace gemel::daemon
