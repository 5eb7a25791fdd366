#include "grpc/access/authorizer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gemel::access {
namespace {

class PolicyStoreTest : public testing::Test {
 protected:
  PolicyStoreTest() : path_(testing::TempDir() + "policy") { unlink(path_.c_str()); }

  std::unique_ptr<PolicyStore> Open() {
    auto store = PolicyStore::Open(path_);
    EXPECT_TRUE(store.has_value()) << store.error().message;
    return store ? *std::move(store) : nullptr;
  }

  const std::string path_;
  const Caller root_{Caller::Kind::kLocal, "user:root", {"uid:0"}, "unix"};
  const Caller alice_{Caller::Kind::kCertificate, "cert:alice", {}, "192.0.2.1:1"};
};

TEST_F(PolicyStoreTest, FirstStart_MakesRootAdminAndNobodyElse) {
  const auto store = Open();
  EXPECT_TRUE(store->Check(root_, Permission::kGrant, "*").has_value());
  EXPECT_FALSE(store->Check(alice_, Permission::kRead, "projects/web").has_value());
  struct stat info{};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(PolicyStoreTest, Denial_SaysWhatWouldAllowIt) {
  const auto status = Open()->Check(alice_, Permission::kOperate, "projects/web/vms/db");
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, Code::kPermissionDenied);
  EXPECT_EQ(
      status.error().message,
      "cert:alice may not operate projects/web/vms/db: that takes the role operator (an admin "
      "gives it with: gemel access grant operator cert:alice projects/web/vms/db)");
}

TEST_F(PolicyStoreTest, Set_IsInForceAtOnceAndAfterOpeningAgain) {
  auto store = Open();
  Policy policy = *store->Get().policy;
  policy.bindings.push_back({Role::kViewer, "cert:alice", "projects/web"});
  ASSERT_TRUE(store->Set(policy, store->Get().etag).has_value());
  EXPECT_TRUE(store->Check(alice_, Permission::kRead, "projects/web").has_value());
  EXPECT_TRUE(Open()->Check(alice_, Permission::kRead, "projects/web/vms/db").has_value());
}

TEST_F(PolicyStoreTest, Set_WithAnOldEtag_IsRefused) {
  auto store = Open();
  const std::string old = store->Get().etag;
  Policy policy = *store->Get().policy;
  policy.bindings.push_back({Role::kViewer, "everyone", "*"});
  const auto next = store->Set(policy, old);
  ASSERT_TRUE(next.has_value());
  EXPECT_NE(*next, old);
  EXPECT_EQ(store->Set(policy, old).error().code, Code::kAborted);
}

TEST_F(PolicyStoreTest, Set_WithoutAnyAdminOfEverything_IsRefused) {
  EXPECT_EQ(Open()->Set({}, "").error().code, Code::kFailedPrecondition);
}

TEST_F(PolicyStoreTest, Set_OfABrokenBinding_NamesIt) {
  auto store = Open();
  Policy policy = *store->Get().policy;
  policy.bindings.push_back({Role::kViewer, "cert:a b", "*"});
  EXPECT_EQ(store->Set(policy, "").error().code, Code::kInvalidArgument);
}

TEST_F(PolicyStoreTest, EditByHand_CountsAtOnce) {
  const auto store = Open();
  ASSERT_TRUE(ReplaceFile(path_, "admin uid:0 *\nviewer cert:alice projects/web\n").has_value());
  EXPECT_TRUE(store->Check(alice_, Permission::kRead, "projects/web").has_value());
  EXPECT_TRUE(store->CheckList(alice_, "projects/web").has_value());
}

TEST_F(PolicyStoreTest, BrokenEditByHand_LeavesTheLastGoodPolicy) {
  const auto store = Open();
  ASSERT_TRUE(ReplaceFile(path_, "viewer everyone *\nnonsense\n").has_value());
  EXPECT_FALSE(store->Check(alice_, Permission::kRead, "projects/web").has_value());
  EXPECT_TRUE(store->Check(root_, Permission::kChange, "projects/web").has_value());
}

TEST_F(PolicyStoreTest, BrokenFile_AtTheStart_IsAnErrorWithItsLine) {
  ASSERT_TRUE(ReplaceFile(path_, "nonsense\n").has_value());
  const auto store = PolicyStore::Open(path_);
  ASSERT_FALSE(store.has_value());
  EXPECT_NE(store.error().message.find("policy: line 1: role: nonsense"), std::string::npos);
}

}  // namespace
}  // namespace gemel::access
