#include "grpc/access/identity.h"

#include <algorithm>

namespace gemel::access {
namespace {

// As many certificates are kept parsed as a busy server has clients.
constexpr std::size_t kCertificatesKept = 256;

// "192.0.2.1:50312" of "ipv4:192.0.2.1:50312"; gRPC writes [ and ] of IPv6 as %5B and %5D.
std::string AddressOf(std::string_view peer) {
  std::string address(peer.substr(std::min(peer.find(':') + 1, peer.size())));
  for (const auto& [from, to] : {std::pair{"%5B", "["}, std::pair{"%5D", "]"}}) {
    const std::size_t at = address.find(from);
    if (at != std::string::npos) address.replace(at, 3, to);
  }
  return address;
}

}  // namespace

Result<Caller> Identities::Identify(const PeerFacts& facts) const {
  for (const auto& provider : providers_) {
    auto caller = provider->Identify(facts);
    if (!caller) return std::unexpected(std::move(caller).error());
    if (*caller) return **std::move(caller);
  }
  return MakeError(
      Code::kUnauthenticated,
      fmt::format("{}: neither a local user nor the holder of a certificate", facts.peer));
}

Result<pki::Certificate> CertificateIdentity::Read(const std::string& pem) {
  const MutexLock lock(mutex_);
  for (const auto& [text, certificate] : read_)
    if (text == pem) return certificate;
  ASSIGN_OR_RETURN(pki::Certificate certificate, pki::ReadCertificate(pem));
  if (read_.size() >= kCertificatesKept) read_.erase(read_.begin());
  read_.emplace_back(pem, certificate);
  return certificate;
}

Result<std::optional<Caller>> CertificateIdentity::Identify(const PeerFacts& facts) {
  if (facts.certificate_pem.empty()) return std::optional<Caller>();
  const auto certificate = Read(facts.certificate_pem);
  const auto refuse = [](std::string message) {
    return MakeError(Code::kUnauthenticated, std::move(message));
  };
  if (!certificate) return refuse("the certificate cannot be read");
  const std::int64_t now = clock_->RealtimeNow() / 1'000'000'000;
  if (certificate->name.empty()) return refuse("the certificate names nobody");
  if (revoked_->IsRevoked(certificate->serial)) {
    return refuse(fmt::format("the certificate of {} (serial {}) was revoked; ask for another one",
                              certificate->name, certificate->serial));
  }
  if (now > certificate->not_after || now < certificate->not_before) {
    return refuse(fmt::format("the certificate of {} counts from {} to {}, and today is {}",
                              certificate->name, pki::DayText(certificate->not_before),
                              pki::DayText(certificate->not_after), pki::DayText(now)));
  }
  return Caller{Caller::Kind::kCertificate, "cert:" + certificate->name, {}, AddressOf(facts.peer)};
}

}  // namespace gemel::access
