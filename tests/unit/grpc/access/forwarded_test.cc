#include "grpc/access/forwarded.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "base/file_util.h"
#include "grpc/access/doorman.h"
#include "pki/make_certificate.h"

namespace gemel::access {
namespace {

constexpr std::int64_t kStart = 1'795'386'664;
constexpr std::int64_t kEnd = kStart + 86'400;

const Caller& Alice() {
  static const Caller alice{Caller::Kind::kLocal, "user:alice", {"uid:7", "group:web"}, "unix"};
  return alice;
}

TEST(ForwardedTest, WhatIsFormatted_IsReadBack) {
  const auto read = ParseForwarded(FormatForwarded(Alice()));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->kind, Caller::Kind::kLocal);
  EXPECT_EQ(read->name, "user:alice");
  EXPECT_EQ(read->address, "unix");
  EXPECT_EQ(read->also, std::vector<std::string>{"group:web"});  // uid 7 is somebody else there
  EXPECT_EQ(read->via, "");
}

TEST(ForwardedTest, NumbersOfUsers_MeanNobodyOnAnotherNode) {
  const Caller nameless{Caller::Kind::kLocal, "uid:1001", {"uid:1001", "gid:7", "uid:0"}, "unix"};
  const auto read = ParseForwarded(FormatForwarded(nameless));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->name, "uid:1001 of another node");
  EXPECT_EQ(read->also, std::vector<std::string>{"uid:0"});
}

TEST(ForwardedTest, AnythingElse_IsRefused) {
  for (const std::string& text :
       {std::string(), std::string("1\nlocal\n"), std::string("2\nlocal\nuser:a\nunix\n"),
        std::string("1\ndaemon\ndaemon\n\n"), std::string("1\nlocal\n\nunix\n"),
        std::string("1\nlocal\nuser:a\x1b\nunix\n"), std::string(9000, 'a')})
    EXPECT_EQ(ParseForwarded(text).error().code, Code::kInvalidArgument) << text.substr(0, 40);
}

class NodeIdentityTest : public testing::Test {
 protected:
  NodeIdentityTest() {
    authority_ = pki::MakeAuthority("cluster", kStart, kEnd).value_or(pki::KeyAndCertificate{});
    identity_ = std::make_unique<NodeIdentity>(
        authority_.certificate_pem, List(), [](const std::string& name) { return name == "b"; },
        &clock_);
    clock_.realtime = (kStart + 1) * 1'000'000'000;
  }
  // The list in the file, which names what is revoked now.
  std::shared_ptr<pki::RevocationList> List() const {
    const std::string path = testing::TempDir() + "forwarded_crl.pem";
    const std::string ca = testing::TempDir() + "forwarded_ca.pem";
    EXPECT_TRUE(ReplaceFile(ca, authority_.certificate_pem).has_value());
    std::vector<pki::Revoked> revoked;
    for (const std::string& serial : revoked_) revoked.push_back({serial, kStart});
    const auto list = pki::MakeRevocationList(revoked, 1, kStart, kEnd, authority_.key_pem,
                                              authority_.certificate_pem);
    EXPECT_TRUE(ReplaceFile(path, list.value_or("")).has_value());
    auto opened = pki::RevocationList::Open(path, ca);
    return opened ? std::move(*opened) : nullptr;
  }
  static std::string Issue(const pki::KeyAndCertificate& authority, const std::string& name,
                           bool of_node = true) {
    const pki::CertificateRequest request{pki::Purpose::kClient, name, {}, kStart, kEnd, of_node};
    return pki::MakeCertificate(request, authority.key_pem, authority.certificate_pem)
        .value_or(pki::KeyAndCertificate{})
        .certificate_pem;
  }
  PeerFacts From(const std::string& name) const {
    return {"ipv4:192.0.2.1:5", Issue(authority_, name), "", FormatForwarded(Alice())};
  }
  Code Refusal(const PeerFacts& facts) const { return identity_->Identify(facts).error().code; }

  pki::KeyAndCertificate authority_;
  std::vector<std::string> revoked_;
  struct TestClock : Clock {
    std::int64_t realtime = 0;
    std::int64_t MonotonicNow() const override { return 0; }
    std::int64_t RealtimeNow() const override { return realtime; }
  } clock_;
  std::unique_ptr<NodeIdentity> identity_;
};

TEST_F(NodeIdentityTest, Node_SpeaksForSomebody) {
  const auto caller = identity_->Identify(From("b"));
  ASSERT_TRUE(caller.has_value() && caller->has_value());
  EXPECT_EQ((*caller)->name, "user:alice");
  EXPECT_EQ((*caller)->via, "nodes/b");
  EXPECT_TRUE(Answers(**caller, "group:web"));
}

TEST_F(NodeIdentityTest, HolderOfTheClustersCertificateThatIsNoNode_IsRefused) {
  EXPECT_EQ(Refusal(From("w")), Code::kUnauthenticated);
}

TEST_F(NodeIdentityTest, WitnessThatEnteredItselfAsANode_IsRefused) {
  PeerFacts facts = From("b");
  facts.certificate_pem = Issue(authority_, "b", false);
  EXPECT_EQ(Refusal(facts), Code::kUnauthenticated);
}

TEST_F(NodeIdentityTest, NodeThatSpeaksForNobody_IsRefused) {
  PeerFacts facts = From("b");
  facts.forwarded.clear();
  EXPECT_EQ(Refusal(facts), Code::kUnauthenticated);
  facts.forwarded = "what?";
  EXPECT_EQ(Refusal(facts), Code::kUnauthenticated);
}

TEST_F(NodeIdentityTest, RevokedCertificate_IsRefused) {
  const PeerFacts facts = From("b");
  EXPECT_TRUE(identity_->Identify(facts).has_value());
  revoked_ = {pki::ReadCertificate(facts.certificate_pem)->serial};
  ASSERT_NE(List(), nullptr);  // the same file, which is read anew
  EXPECT_EQ(Refusal(facts), Code::kUnauthenticated);
}

TEST_F(NodeIdentityTest, CertificateThatHasEnded_IsRefused) {
  clock_.realtime = (kEnd + 1) * 1'000'000'000;
  EXPECT_EQ(Refusal(From("b")), Code::kUnauthenticated);
}

TEST_F(NodeIdentityTest, OtherAuthoritiesCertificates_AreNotItsBusiness) {
  const auto other = pki::MakeAuthority("users", kStart, kEnd).value_or(pki::KeyAndCertificate{});
  const PeerFacts facts{"ipv4:192.0.2.1:5", Issue(other, "b"), "", FormatForwarded(Alice())};
  const auto found = identity_->Identify(facts);
  ASSERT_TRUE(found.has_value());
  EXPECT_FALSE(found->has_value());
  EXPECT_FALSE(identity_->Identify({"fd:7", "", "", FormatForwarded(Alice())}).value().has_value());
}

// Whoever asks is root, which may do all but speak for others.
class RootIdentity : public IdentityProvider {
 public:
  Result<std::optional<Caller>> Identify(const PeerFacts& facts) override {
    Caller caller{Caller::Kind::kLocal, "user:root", {"uid:0"}, "unix"};
    caller.via = facts.authorization;
    return caller;
  }
};

TEST(DoormanForwardingTest, ClientThatSpeaksForSomebodyElse_IsRefusedAndOnRecord) {
  const std::string log = testing::TempDir() + "forwarded_audit";
  const std::string rules = testing::TempDir() + "forwarded_policy";
  unlink(log.c_str());
  ASSERT_TRUE(ReplaceFile(rules, "admin uid:0 *\n").has_value());
  const SystemClock clock;
  Identities identities;
  identities.Add(std::make_unique<RootIdentity>());
  const auto policy = PolicyStore::Open(rules);
  const auto audit = AuditLog::Open(log, &clock);
  ASSERT_TRUE(policy.has_value() && audit.has_value());
  const Doorman doorman(&identities, policy->get(), audit->get());
  const Call call{"/gemel.v1.VirtualMachines/Reset", Permission::kOperate, "projects/p/vms/v", ""};
  const auto refused = doorman.Admit({"fd:7", "", "", FormatForwarded(Alice())}, call);
  EXPECT_EQ(refused.error().code, Code::kPermissionDenied);
  const std::string text = ReadTextFile(log).value_or("");
  EXPECT_NE(text.find(R"("who":"user:root")"), std::string::npos) << text;
  const PeerFacts of_node{"fd:7", "", "nodes/b", FormatForwarded(Alice())};
  EXPECT_TRUE(doorman.Admit(of_node, call).has_value());
  const Call another{"/gemel.v1.Access/SetBinding", Permission::kGrant, "*", ""};
  EXPECT_EQ(doorman.Admit(of_node, another).error().code, Code::kPermissionDenied);
}

TEST(AuditLineTest, CallThatANodePassedOn_NamesTheNode) {
  AuditRecord record{Alice(), "/X", "projects/p/vms/v", Code::kOk, "", "id"};
  EXPECT_EQ(FormatAuditLine(record, 0).find("via"), std::string::npos);
  record.caller.via = "nodes/b";
  EXPECT_NE(FormatAuditLine(record, 0).find(R"("from":"unix","via":"nodes/b","method")"),
            std::string::npos);
}

}  // namespace
}  // namespace gemel::access
