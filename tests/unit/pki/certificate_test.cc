#include "pki/certificate.h"

#include <gtest/gtest.h>

#include "pki/make_certificate.h"

namespace gemel::pki {
namespace {

constexpr std::int64_t kStart = 1'795'386'664;
constexpr std::int64_t kEnd = kStart + 86'400;

KeyAndCertificate TestAuthority() {
  auto made = MakeAuthority("test authority", kStart, kEnd);
  EXPECT_TRUE(made.has_value());
  return made.value_or(KeyAndCertificate{});
}

Result<KeyAndCertificate> Issue(const KeyAndCertificate& authority, CertificateRequest request) {
  request.not_before = kStart;
  request.not_after = kEnd;
  return MakeCertificate(request, authority.key_pem, authority.certificate_pem);
}

TEST(CertificateTest, Client_ReadsBackWithItsNameSerialAndTimes) {
  const KeyAndCertificate authority = TestAuthority();
  const auto made = Issue(authority, {.name = "alice@example.org", .addresses = {}});
  ASSERT_TRUE(made.has_value()) << made.error().message;
  const auto read = ReadCertificate(made->certificate_pem);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->name, "alice@example.org");
  EXPECT_EQ(read->serial, made->serial);
  EXPECT_EQ(read->not_before, kStart);
  EXPECT_EQ(read->not_after, kEnd);
  EXPECT_EQ(read->serial.size(), 32U);
}

TEST(CertificateTest, TwoCertificates_HaveDifferentSerials) {
  const KeyAndCertificate authority = TestAuthority();
  EXPECT_NE(Issue(authority, {.name = "a", .addresses = {}})->serial,
            Issue(authority, {.name = "a", .addresses = {}})->serial);
}

TEST(CertificateTest, IsSignedBy_TellsAuthoritiesApart) {
  const KeyAndCertificate authority = TestAuthority();
  const KeyAndCertificate other = TestAuthority();
  const auto made = Issue(authority, {.name = "alice", .addresses = {}});
  EXPECT_TRUE(IsSignedBy(made->certificate_pem, authority.certificate_pem));
  EXPECT_FALSE(IsSignedBy(made->certificate_pem, other.certificate_pem));
}

TEST(CertificateTest, NamesThatOpensslWouldReadAsSyntax_AreRefused) {
  const KeyAndCertificate authority = TestAuthority();
  for (const char* name : {"", "a,URI:gemel:user:root", "a b", "../x", "a\n", "a/b", "a:b"})
    EXPECT_EQ(Issue(authority, {.name = name, .addresses = {}}).error().code,
              Code::kInvalidArgument)
        << name;
  EXPECT_EQ(Issue(authority, {.purpose = Purpose::kServer, .name = "a", .addresses = {"x,DNS:y"}})
                .error()
                .message,
            "address: x,DNS:y: neither a host name nor an IP address");
  EXPECT_FALSE(
      Issue(authority, {.purpose = Purpose::kServer, .name = "a", .addresses = {}}).has_value());
}

TEST(CertificateTest, Server_TakesNamesAndAddresses) {
  const auto made =
      Issue(TestAuthority(), {.purpose = Purpose::kServer,
                              .name = "node-a",
                              .addresses = {"node-a.example.org", "::1", "192.0.2.1"}});
  ASSERT_TRUE(made.has_value()) << made.error().message;
  EXPECT_EQ(ReadCertificate(made->certificate_pem)->name, "node-a");
}

TEST(CertificateTest, AnothersKey_IsRefused) {
  KeyAndCertificate mixed = TestAuthority();
  mixed.key_pem = TestAuthority().key_pem;
  EXPECT_EQ(Issue(mixed, {.name = "a", .addresses = {}}).error().code, Code::kFailedPrecondition);
}

TEST(CertificateTest, Nonsense_IsAnErrorAndNoCrash) {
  EXPECT_FALSE(ReadCertificate("").has_value());
  EXPECT_FALSE(ReadCertificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
                   .has_value());
  EXPECT_FALSE(IsSignedBy("", ""));
}

TEST(CertificateTest, DayText_IsADay) { EXPECT_EQ(DayText(kStart), "2026-11-22"); }

}  // namespace
}  // namespace gemel::pki
