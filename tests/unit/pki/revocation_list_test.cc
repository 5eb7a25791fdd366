#include "pki/revocation_list.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "pki/make_certificate.h"

namespace gemel::pki {
namespace {

class RevocationListTest : public testing::Test {
 protected:
  RevocationListTest() {
    authority_ = MakeAuthority("test", 0, 1'000'000).value_or(KeyAndCertificate{});
    EXPECT_TRUE(ReplaceFile(ca_path_, authority_.certificate_pem).has_value());
  }
  std::string ListOf(const std::vector<Revoked>& revoked, const KeyAndCertificate& authority) {
    auto list = MakeRevocationList(revoked, ++number_, 10, 1'000'000, authority.key_pem,
                                   authority.certificate_pem);
    EXPECT_TRUE(list.has_value()) << list.error().message;
    return list.value_or("");
  }

  const std::string path_ = testing::TempDir() + "crl.pem";
  const std::string ca_path_ = testing::TempDir() + "ca.pem";
  KeyAndCertificate authority_;
  std::int64_t number_ = 0;
};

TEST_F(RevocationListTest, List_ReadsBack) {
  const auto serials =
      ReadRevocationList(ListOf({{"41f0", 5}, {"8", 6}}, authority_), authority_.certificate_pem);
  ASSERT_TRUE(serials.has_value()) << serials.error().message;
  EXPECT_EQ(*serials, (std::set<std::string>{"41f0", "8"}));
}

TEST_F(RevocationListTest, AnothersList_IsRefused) {
  const auto other = MakeAuthority("other", 0, 1'000'000);
  EXPECT_EQ(ReadRevocationList(ListOf({}, *other), authority_.certificate_pem).error().code,
            Code::kPermissionDenied);
}

TEST_F(RevocationListTest, Change_CountsFromTheNextQuestionOn) {
  ASSERT_TRUE(ReplaceFile(path_, ListOf({}, authority_)).has_value());
  auto list = RevocationList::Open(path_, ca_path_);
  ASSERT_TRUE(list.has_value()) << list.error().message;
  EXPECT_FALSE((*list)->IsRevoked("41f0"));
  ASSERT_TRUE(ReplaceFile(path_, ListOf({{"41f0", 5}}, authority_)).has_value());
  EXPECT_TRUE((*list)->IsRevoked("41f0"));
}

TEST_F(RevocationListTest, BrokenOrMissing_LeavesTheLastGoodList) {
  ASSERT_TRUE(ReplaceFile(path_, ListOf({{"41f0", 5}}, authority_)).has_value());
  auto list = RevocationList::Open(path_, ca_path_);
  ASSERT_TRUE(list.has_value());
  ASSERT_TRUE(ReplaceFile(path_, "nonsense").has_value());
  EXPECT_TRUE((*list)->IsRevoked("41f0"));
  ASSERT_EQ(unlink(path_.c_str()), 0);
  EXPECT_TRUE((*list)->IsRevoked("41f0"));
}

TEST_F(RevocationListTest, Missing_AtTheStart_IsAnError) {
  EXPECT_EQ(RevocationList::Open("/no/such/crl", ca_path_).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace gemel::pki
