#include "pki/authority.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/file_util.h"
#include "pki/certificate.h"
#include "pki/revocation_list.h"

namespace gemel::pki {
namespace {

constexpr std::int64_t kNow = 1'795'386'664;

class AuthorityTest : public testing::Test {
 protected:
  AuthorityTest() {
    std::filesystem::remove_all(folder_);
    init_ = Authority::Init(folder_, {"test", {"node-a", "127.0.0.1"}, "admin", 30}, kNow);
  }
  Authority Open() {
    auto authority = Authority::Open(folder_);
    EXPECT_TRUE(authority.has_value()) << authority.error().message;
    return *std::move(authority);
  }
  std::string File(const std::string& name) const {
    return ReadTextFile(folder_ + "/" + name).value_or("");
  }
  std::set<std::string> RevokedSerials() const {
    return ReadRevocationList(File("crl.pem"), File("ca.pem")).value_or(std::set<std::string>{});
  }

  const std::string folder_ = testing::TempDir() + "authority/pki";
  Status init_;
};

TEST_F(AuthorityTest, Init_MakesAServersAndAClientsCertificate) {
  ASSERT_TRUE(init_.has_value()) << init_.error().message;
  EXPECT_TRUE(IsSignedBy(File("server/cert.pem"), File("ca.pem")));
  EXPECT_EQ(ReadCertificate(File("issued/admin/cert.pem"))->name, "admin");
  EXPECT_EQ(ReadCertificate(File("issued/admin/cert.pem"))->not_after, kNow + 30 * 86'400);
  EXPECT_TRUE(RevokedSerials().empty());
  EXPECT_FALSE(std::filesystem::exists(folder_ + ".new"));
}

TEST_F(AuthorityTest, AllFiles_AreTheOwnersAlone) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_)) {
    struct stat info{};
    ASSERT_EQ(stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0077, 0U) << entry.path();
  }
}

TEST_F(AuthorityTest, InitAgain_IsRefusedAndHarmsNothing) {
  const std::string before = File("ca.pem");
  const auto again = Authority::Init(folder_, {"x", {"b"}, "", 30}, kNow);
  EXPECT_EQ(again.error().code, Code::kAlreadyExists);
  EXPECT_EQ(File("ca.pem"), before);
}

TEST_F(AuthorityTest, InitThatFails_LeavesNothing) {
  const std::string folder = testing::TempDir() + "authority/failed";
  EXPECT_FALSE(Authority::Init(folder, {"x", {"bad name"}, "", 30}, kNow).has_value());
  EXPECT_FALSE(std::filesystem::exists(folder));
  EXPECT_FALSE(std::filesystem::exists(folder + ".new"));
}

TEST_F(AuthorityTest, Issue_IsListedAfterOpeningAgain) {
  {
    ASSERT_TRUE(Open().Issue({.name = "alice", .addresses = {}, .folder = ""}, kNow).has_value());
  }
  const Authority authority = Open();
  ASSERT_EQ(authority.issued().size(), 3U);
  EXPECT_EQ(authority.issued().back().name, "alice");
  EXPECT_EQ(authority.issued().back().serial,
            ReadCertificate(File("issued/alice/cert.pem"))->serial);
}

TEST_F(AuthorityTest, IssueOfTheSameName_NeedsRenew) {
  Authority authority = Open();
  IssueOptions options;
  options.name = "admin";
  EXPECT_EQ(authority.Issue(options, kNow).error().code, Code::kAlreadyExists);
  EXPECT_TRUE(authority.Issue(options, kNow + 31 * 86'400).has_value());  // expired by then
  options.renew = true;
  EXPECT_TRUE(authority.Issue(options, kNow).has_value());
}

TEST_F(AuthorityTest, BadNameOrDays_AreRefused) {
  Authority authority = Open();
  IssueOptions options;
  options.name = "../../etc";
  EXPECT_EQ(authority.Issue(options, kNow).error().code, Code::kInvalidArgument);
  options.name = "bob";
  options.days = 0;
  EXPECT_EQ(authority.Issue(options, kNow).error().message, "days: 0: not 1 to 3650");
  EXPECT_EQ(authority.issued().size(), 2U);
}

TEST_F(AuthorityTest, Revoke_PutsAllOfANameOnTheList) {
  Authority authority = Open();
  IssueOptions again;
  again.name = "admin";
  again.renew = true;
  ASSERT_TRUE(authority.Issue(again, kNow).has_value());
  const auto revoked = authority.Revoke("admin", kNow);
  ASSERT_TRUE(revoked.has_value());
  EXPECT_EQ(revoked->size(), 2U);
  EXPECT_EQ(RevokedSerials().size(), 2U);
  EXPECT_TRUE(RevokedSerials().contains(ReadCertificate(File("issued/admin/cert.pem"))->serial));
}

TEST_F(AuthorityTest, RevokeTwice_IsNoErrorAndKeepsTheList) {
  Authority authority = Open();
  ASSERT_TRUE(authority.Revoke("admin", kNow).has_value());
  const auto again = authority.Revoke("admin", kNow);
  ASSERT_TRUE(again.has_value());
  EXPECT_TRUE(again->empty());
  EXPECT_EQ(RevokedSerials().size(), 1U);
}

TEST_F(AuthorityTest, RevokeBySerial_TakesThatOneAlone) {
  Authority authority = Open();
  const std::string serial = ReadCertificate(File("server/cert.pem"))->serial;
  ASSERT_TRUE(authority.Revoke(serial, kNow).has_value());
  EXPECT_EQ(RevokedSerials(), std::set<std::string>{serial});
}

TEST_F(AuthorityTest, RevokeOfNobody_IsNotFound) {
  EXPECT_EQ(Open().Revoke("mallory", kNow).error().code, Code::kNotFound);
}

TEST_F(AuthorityTest, OpenOfNothing_IsNotFound) {
  EXPECT_EQ(Authority::Open("/no/such/folder").error().code, Code::kNotFound);
}

}  // namespace
}  // namespace gemel::pki
