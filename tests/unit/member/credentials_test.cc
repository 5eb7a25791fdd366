#include "member/credentials.h"

#include <gtest/gtest.h>

#include "pki/certificate.h"

namespace gemel::member {
namespace {

constexpr std::int64_t kNow = 1'800'000'000;

TEST(CredentialsTest, BothFiles_HaveAKeyAndAreTheAuthoritys) {
  const auto authority = MakeClusterAuthority("rack7", kNow);
  ASSERT_TRUE(authority);
  const auto made = IssueCredentials("a", "10.0.0.1", cluster::Role::kNode,
                                     authority->certificate_pem, authority->key_pem, kNow);
  ASSERT_TRUE(made) << made.error().message;
  for (const std::string& pem : {made->member_pem, made->node_pem}) {
    EXPECT_TRUE(pki::IsSignedBy(pem, authority->certificate_pem));
    EXPECT_TRUE(pki::CheckKeyMatches(pem, pem));
    EXPECT_EQ(pki::ReadCertificate(pem)->name, "a");
  }
}

TEST(CredentialsTest, NodesFile_SaysThatItIsOne) {
  const auto authority = MakeClusterAuthority("rack7", kNow);
  const auto named = [&](cluster::Role role) {
    const auto made = IssueCredentials("a", "10.0.0.1", role, authority->certificate_pem,
                                       authority->key_pem, kNow);
    return pki::ReadCertificate(made->node_pem)->node;
  };
  EXPECT_EQ(named(cluster::Role::kNode), "a");
  EXPECT_EQ(named(cluster::Role::kWitness), "");
}

TEST(CredentialsTest, DaysLeft_CountsDown) {
  const auto authority = MakeClusterAuthority("rack7", kNow);
  const auto made = IssueCredentials("a", "10.0.0.1", cluster::Role::kNode,
                                     authority->certificate_pem, authority->key_pem, kNow);
  EXPECT_EQ(DaysLeft(made->member_pem, kNow), kCertificateDays);
  EXPECT_EQ(DaysLeft(made->member_pem, kNow + 80 * kDay), kCertificateDays - 80);
  EXPECT_FALSE(DaysLeft("none", kNow));
}

}  // namespace
}  // namespace gemel::member
