#include "grpc/access/policy.h"

#include <gtest/gtest.h>

namespace gemel::access {
namespace {

constexpr std::string_view kText = R"(# comment
admin     user:root     *
operator  group:web     projects/web   # a whole project
viewer    cert:grafana  projects/web/vms/db

quota projects/web vms=10 cpus=32 memory=64G disk=1T
)";

Policy Parsed(std::string_view text) {
  auto policy = ParsePolicy(text);
  EXPECT_TRUE(policy.has_value()) << policy.error().message;
  return policy.value_or(Policy{});
}

std::string ErrorOf(std::string_view text) {
  const auto policy = ParsePolicy(text);
  return policy ? "" : policy.error().message;
}

Caller Certificate(std::string name) {
  return {Caller::Kind::kCertificate, std::move(name), {}, ""};
}

TEST(PolicyTest, Text_ReadsAsItsParts) {
  const Policy policy = Parsed(kText);
  ASSERT_EQ(policy.bindings.size(), 3U);
  EXPECT_EQ(policy.bindings[1], (Binding{Role::kOperator, "group:web", "projects/web"}));
  EXPECT_EQ(policy.quotas.at("projects/web"), (Quota{.vms = 10,
                                                     .cpus = 32,
                                                     .memory_bytes = std::uint64_t{64} << 30,
                                                     .disk_bytes = std::uint64_t{1} << 40}));
}

TEST(PolicyTest, Format_ReadsBackTheSame) {
  const Policy policy = Parsed(kText);
  EXPECT_EQ(Parsed(FormatPolicy(policy)), policy);
}

TEST(PolicyTest, SameBindingTwice_IsOne) {
  EXPECT_EQ(Parsed("admin uid:0 *\nadmin uid:0 *\n").bindings.size(), 1U);
}

TEST(PolicyTest, BadLines_AreRefusedWithTheirNumber) {
  EXPECT_EQ(ErrorOf("\nowner uid:0 *"),
            "line 2: role: owner: unknown; there is viewer, operator, admin");
  EXPECT_EQ(ErrorOf("admin uid:0"), "line 1: a binding is ROLE MEMBER RESOURCE");
  EXPECT_EQ(
      ErrorOf("admin alice *"),
      "line 1: member: alice: not user:NAME, uid:N, group:NAME, gid:N, cert:NAME or everyone");
  EXPECT_EQ(ErrorOf("admin uid:0 web"),
            "line 1: resource: web: not *, projects/NAME or projects/NAME/vms/VM");
  EXPECT_EQ(ErrorOf("admin uid:0 projects/*"),
            "line 1: resource: projects/*: not *, projects/NAME or projects/NAME/vms/VM");
  EXPECT_EQ(ErrorOf("quota web vms=1"), "line 1: project: web: not of the form projects/NAME");
  EXPECT_EQ(ErrorOf("quota projects/a nics=1"),
            "line 1: quota: nics: unknown; there is vms, running, cpus, memory, disk, networks");
  EXPECT_EQ(ErrorOf("quota projects/a vms=1 vms=2"), "line 1: quota: vms: given more than once");
  EXPECT_NE(ErrorOf("quota projects/a vms=-1"), "");
  EXPECT_NE(ErrorOf("quota projects/a\nquota projects/a"), "");
}

TEST(PolicyTest, Nobody_IsAllowedByDefault) {
  EXPECT_FALSE(Allows({}, Certificate("cert:alice"), Permission::kRead, "projects/web"));
  EXPECT_FALSE(AllowsSomeReadIn({}, Certificate("cert:alice"), "*"));
}

TEST(PolicyTest, Viewer_ReadsAndNothingElse) {
  const Policy policy = Parsed("viewer cert:alice projects/web");
  const Caller alice = Certificate("cert:alice");
  EXPECT_TRUE(Allows(policy, alice, Permission::kRead, "projects/web/vms/db"));
  EXPECT_FALSE(Allows(policy, alice, Permission::kOperate, "projects/web/vms/db"));
  EXPECT_FALSE(Allows(policy, alice, Permission::kConsole, "projects/web/vms/db"));
  EXPECT_FALSE(Allows(policy, alice, Permission::kChange, "projects/web/vms/db"));
}

TEST(PolicyTest, Operator_OperatesButDoesNotChange) {
  const Policy policy = Parsed("operator cert:alice projects/web");
  const Caller alice = Certificate("cert:alice");
  EXPECT_TRUE(Allows(policy, alice, Permission::kRead, "projects/web"));
  EXPECT_TRUE(Allows(policy, alice, Permission::kOperate, "projects/web/vms/db"));
  EXPECT_FALSE(Allows(policy, alice, Permission::kChange, "projects/web"));
  EXPECT_FALSE(Allows(policy, alice, Permission::kGrant, "projects/web"));
}

TEST(PolicyTest, Admin_OfAProject_HasNothingBeside) {
  const Policy policy = Parsed("admin cert:alice projects/web");
  const Caller alice = Certificate("cert:alice");
  EXPECT_TRUE(Allows(policy, alice, Permission::kGrant, "projects/web"));
  EXPECT_FALSE(Allows(policy, alice, Permission::kRead, "projects/web2/vms/db"));
  EXPECT_FALSE(Allows(policy, alice, Permission::kRead, "nodes/a"));
  EXPECT_FALSE(Allows(policy, alice, Permission::kRead, "*"));
}

TEST(PolicyTest, BindingOnAVm_DoesNotReachItsProjectOrNeighbours) {
  const Policy policy = Parsed("admin cert:alice projects/web/vms/db");
  const Caller alice = Certificate("cert:alice");
  EXPECT_TRUE(Allows(policy, alice, Permission::kChange, "projects/web/vms/db"));
  EXPECT_FALSE(Allows(policy, alice, Permission::kChange, "projects/web"));
  EXPECT_FALSE(Allows(policy, alice, Permission::kChange, "projects/web/vms/db2"));
  EXPECT_TRUE(AllowsSomeReadIn(policy, alice, "projects/web"));
  EXPECT_TRUE(AllowsSomeReadIn(policy, alice, "*"));
  EXPECT_FALSE(AllowsSomeReadIn(policy, alice, "projects/other"));
}

TEST(PolicyTest, Groups_AnswerForTheirMembers) {
  const Policy policy = Parsed("viewer group:web *\n");
  const Caller alice{Caller::Kind::kLocal, "user:alice", {"uid:1000", "group:web"}, "unix"};
  EXPECT_TRUE(Allows(policy, alice, Permission::kRead, "projects/a"));
}

TEST(PolicyTest, CertificateNamedLikeAUser_IsNotThatUser) {
  const Policy policy = Parsed("admin user:root *\nadmin uid:0 *");
  EXPECT_FALSE(Allows(policy, Certificate("cert:root"), Permission::kRead, "projects/a"));
  EXPECT_FALSE(Allows(policy, Certificate("cert:user:root"), Permission::kRead, "projects/a"));
}

TEST(PolicyTest, Everyone_MeansThoseWithAName) {
  const Policy policy = Parsed("viewer everyone *");
  EXPECT_TRUE(Allows(policy, Certificate("cert:x"), Permission::kRead, "projects/a"));
  EXPECT_FALSE(Allows(policy, Certificate(""), Permission::kRead, "projects/a"));
}

TEST(PolicyTest, TheDaemonItself_MayDoAll) {
  EXPECT_TRUE(Allows({}, DaemonCaller(), Permission::kChange, "projects/a"));
}

TEST(PolicyTest, Quota_NamesWhatIsShort) {
  const Policy policy = Parsed("quota projects/web vms=2 memory=4G");
  const auto status = CheckQuota(policy, "projects/web", {.vms = 1, .memory_bytes = 3ULL << 30},
                                 {.vms = 1, .memory_bytes = 2ULL << 30});
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, Code::kResourceExhausted);
  EXPECT_EQ(status.error().message,
            "memory: projects/web: 2G is more than what is left of the project's quota, 1G of 4G");
}

TEST(PolicyTest, Quota_ExactlyUsedUp_IsAllowed) {
  const Policy policy = Parsed("quota projects/web vms=2");
  EXPECT_TRUE(CheckQuota(policy, "projects/web", {.vms = 1}, {.vms = 1}).has_value());
  EXPECT_FALSE(CheckQuota(policy, "projects/web", {.vms = 2}, {.vms = 1}).has_value());
}

TEST(PolicyTest, Quota_ExceededAlready_DoesNotHinderOtherChanges) {
  const Policy policy = Parsed("quota projects/web vms=2");
  EXPECT_TRUE(CheckQuota(policy, "projects/web", {.vms = 5}, {.cpus = 1}).has_value());
  EXPECT_FALSE(CheckQuota(policy, "projects/web", {.vms = 5}, {.vms = 1}).has_value());
}

TEST(PolicyTest, Quota_OfHugeNumbers_DoesNotWrap) {
  const Policy policy = Parsed("quota projects/web memory=4G");
  EXPECT_FALSE(CheckQuota(policy, "projects/web", {.memory_bytes = 1ULL << 30},
                          {.memory_bytes = ~std::uint64_t{0}})
                   .has_value());
}

TEST(PolicyTest, Quota_OfAnotherProject_SaysNothing) {
  const Policy policy = Parsed("quota projects/web vms=0");
  EXPECT_TRUE(CheckQuota(policy, "projects/db", {}, {.vms = 1}).has_value());
}

}  // namespace
}  // namespace gemel::access
