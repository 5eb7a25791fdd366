#include "grpc/access/identity.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/file_util.h"
#include "base/unique_fd.h"
#include "pki/make_certificate.h"

namespace gemel::access {
namespace {

constexpr std::int64_t kStart = 1'795'386'664;
constexpr std::int64_t kEnd = kStart + 86'400;

TEST(LocalIdentityTest, SocketsPeer_IsWhoTheKernelSays) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd ours(ends[0]), theirs(ends[1]);
  const SystemClock clock;
  LocalIdentity identity(&clock);
  const auto caller = identity.Identify({fmt::format("fd:{}", ours.get()), "", ""});
  ASSERT_TRUE(caller.has_value() && caller->has_value());
  EXPECT_EQ((*caller)->kind, Caller::Kind::kLocal);
  EXPECT_EQ((*caller)->address, "unix");
  EXPECT_TRUE(Answers(**caller, fmt::format("uid:{}", getuid())));
  EXPECT_TRUE(Answers(**caller, fmt::format("gid:{}", getgid())));
}

TEST(LocalIdentityTest, OtherPeers_AreNotItsBusiness) {
  const SystemClock clock;
  LocalIdentity identity(&clock);
  for (const char* peer : {"ipv4:127.0.0.1:7", "unix:", "unix:/fd:3", "fd:", "fd:x", "fd:-1", ""})
    EXPECT_FALSE(identity.Identify({peer, "", ""}).value().has_value()) << peer;
}

TEST(LocalIdentityTest, DescriptorThatIsNoSocket_IsRefused) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]), writer(ends[1]);
  const SystemClock clock;
  LocalIdentity identity(&clock);
  EXPECT_EQ(identity.Identify({fmt::format("fd:{}", reader.get()), "", ""}).error().code,
            Code::kUnauthenticated);
}

class CertificateIdentityTest : public testing::Test {
 protected:
  CertificateIdentityTest() {
    authority_ = pki::MakeAuthority("test", kStart, kEnd).value_or(pki::KeyAndCertificate{});
    EXPECT_TRUE(ReplaceFile(ca_path_, authority_.certificate_pem).has_value());
    WriteList({});
    auto list = pki::RevocationList::Open(path_, ca_path_);
    EXPECT_TRUE(list.has_value());
    identity_ = std::make_unique<CertificateIdentity>(*std::move(list), &clock_);
    SetNow(kStart + 1);
  }
  void WriteList(const std::vector<pki::Revoked>& revoked) {
    const auto list = pki::MakeRevocationList(revoked, 1, kStart, kEnd, authority_.key_pem,
                                              authority_.certificate_pem);
    EXPECT_TRUE(ReplaceFile(path_, list.value_or("")).has_value());
  }
  void SetNow(std::int64_t seconds) { clock_.realtime = seconds * 1'000'000'000; }
  pki::KeyAndCertificate Issue(const std::string& name) {
    const pki::CertificateRequest request{pki::Purpose::kClient, name, {}, kStart, kEnd};
    return pki::MakeCertificate(request, authority_.key_pem, authority_.certificate_pem)
        .value_or(pki::KeyAndCertificate{});
  }
  PeerFacts Facts(const std::string& pem) const { return {"ipv6:%5B::1%5D:50312", pem, ""}; }

  const std::string path_ = testing::TempDir() + "identity_crl.pem";
  const std::string ca_path_ = testing::TempDir() + "identity_ca.pem";
  pki::KeyAndCertificate authority_;
  struct TestClock : Clock {
    std::int64_t realtime = 0;
    std::int64_t MonotonicNow() const override { return 0; }
    std::int64_t RealtimeNow() const override { return realtime; }
  } clock_;
  std::unique_ptr<CertificateIdentity> identity_;
};

TEST_F(CertificateIdentityTest, Holder_IsNamedByItsCertificate) {
  const auto caller = identity_->Identify(Facts(Issue("alice").certificate_pem));
  ASSERT_TRUE(caller.has_value() && caller->has_value());
  EXPECT_EQ((*caller)->name, "cert:alice");
  EXPECT_EQ((*caller)->address, "[::1]:50312");
  EXPECT_EQ((*caller)->kind, Caller::Kind::kCertificate);
}

TEST_F(CertificateIdentityTest, PeerWithoutCertificate_IsNotItsBusiness) {
  EXPECT_FALSE(identity_->Identify(Facts("")).value().has_value());
}

TEST_F(CertificateIdentityTest, RevokedMeanwhile_IsRefusedAtTheNextCall) {
  const auto alice = Issue("alice");
  ASSERT_TRUE(identity_->Identify(Facts(alice.certificate_pem)).has_value());
  WriteList({{alice.serial, kStart}});
  const auto refused = identity_->Identify(Facts(alice.certificate_pem));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Code::kUnauthenticated);
  EXPECT_NE(refused.error().message.find("was revoked"), std::string::npos);
  EXPECT_TRUE(identity_->Identify(Facts(Issue("alice").certificate_pem)).has_value());
}

TEST_F(CertificateIdentityTest, ExpiredMeanwhile_IsRefused) {
  const auto alice = Issue("alice");
  SetNow(kEnd + 1);
  EXPECT_EQ(identity_->Identify(Facts(alice.certificate_pem)).error().code, Code::kUnauthenticated);
}

TEST_F(CertificateIdentityTest, ManyCertificates_AreNotKeptForEver) {
  for (int i = 0; i < 300; ++i)
    EXPECT_TRUE(
        identity_->Identify(Facts(Issue(fmt::format("c{}", i)).certificate_pem)).has_value());
}

TEST_F(CertificateIdentityTest, Nonsense_IsRefused) {
  EXPECT_EQ(identity_->Identify(Facts("nonsense")).error().code, Code::kUnauthenticated);
}

TEST(IdentitiesTest, PeerThatNobodyKnows_IsUnauthenticated) {
  const Identities none;
  EXPECT_EQ(none.Identify({"ipv4:192.0.2.1:5", "", ""}).error().code, Code::kUnauthenticated);
}

}  // namespace
}  // namespace gemel::access
