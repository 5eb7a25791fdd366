#include "grpc/access/doorman.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "base/file_util.h"

namespace gemel::access {
namespace {

// Peers are called what their `peer` says; nobody knows "stranger".
class NamedIdentity : public IdentityProvider {
 public:
  Result<std::optional<Caller>> Identify(const PeerFacts& facts) override {
    if (facts.peer == "stranger") return std::optional<Caller>();
    return Caller{Caller::Kind::kCertificate, facts.peer, {}, "192.0.2.1:5"};
  }
};

class DoormanTest : public testing::Test {
 protected:
  DoormanTest() {
    unlink(log_path_.c_str());
    identities_.Add(std::make_unique<NamedIdentity>());
    EXPECT_TRUE(
        ReplaceFile(policy_path_, "admin uid:0 *\nviewer cert:al projects/a/vms/v\n").has_value());
    policy_ = PolicyStore::Open(policy_path_).value_or(nullptr);
    audit_ = AuditLog::Open(log_path_, &clock_).value_or(nullptr);
    doorman_ = std::make_unique<Doorman>(&identities_, policy_.get(), audit_.get());
  }
  std::string Log() const { return ReadTextFile(log_path_).value_or(""); }
  static PeerFacts From(std::string peer) { return {std::move(peer), "", ""}; }
  static Call CallOf(Permission permission, std::string resource) {
    return {"/gemel.v1.VirtualMachines/X", permission, std::move(resource), "id-1"};
  }

  const std::string log_path_ = testing::TempDir() + "doorman_audit";
  const std::string policy_path_ = testing::TempDir() + "doorman_policy";
  const SystemClock clock_;
  Identities identities_;
  std::unique_ptr<PolicyStore> policy_;
  std::unique_ptr<AuditLog> audit_;
  std::unique_ptr<Doorman> doorman_;
};

TEST_F(DoormanTest, AllowedRead_LeavesNoRecord) {
  const auto caller =
      doorman_->Admit(From("cert:al"), CallOf(Permission::kRead, "projects/a/vms/v"));
  ASSERT_TRUE(caller.has_value());
  EXPECT_EQ(caller->name, "cert:al");
  EXPECT_EQ(Log(), "");
}

TEST_F(DoormanTest, DeniedCall_IsOnRecordWithWhoAndWhat) {
  const auto caller =
      doorman_->Admit(From("cert:al"), CallOf(Permission::kOperate, "projects/a/vms/v"));
  EXPECT_EQ(caller.error().code, Code::kPermissionDenied);
  for (const char* part : {R"("who":"cert:al")", R"("from":"192.0.2.1:5")", "projects/a/vms/v",
                           R"("outcome":"PERMISSION_DENIED")", R"("request_id":"id-1")"})
    EXPECT_NE(Log().find(part), std::string::npos) << part << Log();
}

TEST_F(DoormanTest, UnknownPeer_IsOnRecordWithWhereFrom) {
  const auto caller = doorman_->Admit(From("stranger"), CallOf(Permission::kRead, "*"));
  EXPECT_EQ(caller.error().code, Code::kUnauthenticated);
  EXPECT_NE(Log().find(R"("who":"","from":"stranger")"), std::string::npos) << Log();
}

TEST_F(DoormanTest, List_IsForWhoSeesSomethingInIt) {
  EXPECT_TRUE(doorman_->AdmitToList(From("cert:al"), CallOf(Permission::kRead, "projects/-")));
  EXPECT_TRUE(doorman_->AdmitToList(From("cert:al"), CallOf(Permission::kRead, "")));
  const auto caller =
      doorman_->AdmitToList(From("cert:al"), CallOf(Permission::kRead, "projects/a"));
  ASSERT_TRUE(caller.has_value());
  EXPECT_TRUE(doorman_->MaySee(*caller, "projects/a/vms/v"));
  EXPECT_FALSE(doorman_->MaySee(*caller, "projects/a/vms/w"));
  EXPECT_FALSE(doorman_->AdmitToList(From("cert:al"), CallOf(Permission::kRead, "projects/b")));
  EXPECT_FALSE(doorman_->AdmitToList(From("cert:eve"), CallOf(Permission::kRead, "projects/-")));
}

TEST_F(DoormanTest, RoleTakenAway_EndsAStream) {
  const Call call = CallOf(Permission::kRead, "projects/a/vms/v");
  EXPECT_TRUE(doorman_->StillAdmitted(From("cert:al"), call));
  ASSERT_TRUE(ReplaceFile(policy_path_, "admin uid:0 *\n").has_value());
  EXPECT_FALSE(doorman_->StillAdmitted(From("cert:al"), call));
}

TEST_F(DoormanTest, Recognise_TakesWhoHasANameAndNoRole) {
  EXPECT_EQ(doorman_->Recognise(From("cert:eve"), CallOf(Permission::kGrant, "*"))->name,
            "cert:eve");
  EXPECT_FALSE(doorman_->Recognise(From("stranger"), CallOf(Permission::kGrant, "*")));
  EXPECT_TRUE(doorman_->StillKnown(From("cert:eve")));
  EXPECT_FALSE(doorman_->StillKnown(From("stranger")));
}

TEST_F(DoormanTest, Record_SaysTheOutcome) {
  doorman_->Record({Caller::Kind::kLocal, "user:root", {}, "unix"},
                   CallOf(Permission::kChange, "projects/a"), Code::kAlreadyExists, "vm exists");
  EXPECT_NE(Log().find(R"("outcome":"ALREADY_EXISTS","message":"vm exists")"), std::string::npos);
}

}  // namespace
}  // namespace gemel::access
