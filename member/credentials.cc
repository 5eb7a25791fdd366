#include "member/credentials.h"

#include <algorithm>
#include <cstdlib>

#include "pki/certificate.h"

namespace gemel::member {
namespace {

constexpr std::int64_t kAuthorityDays = 3652;
// Clocks may be a little apart.
constexpr std::int64_t kSkew = 3600;

}  // namespace

Result<pki::KeyAndCertificate> MakeClusterAuthority(const std::string& cluster, std::int64_t now) {
  return pki::MakeAuthority(cluster + " cluster authority", now - kSkew,
                            now + kAuthorityDays * kDay);
}

Result<Credentials> IssueCredentials(const std::string& name, const std::string& address,
                                     cluster::Role role, std::string_view authority_pem,
                                     std::string_view authority_key, std::int64_t now,
                                     std::int64_t seconds) {
  pki::CertificateRequest request{pki::Purpose::kPeer, name, {address}, now - kSkew, now + seconds};
  ASSIGN_OR_RETURN(const auto member, pki::MakeCertificate(request, authority_key, authority_pem));
  // Of no address: etcd would ask a client to come from there.
  request.purpose = pki::Purpose::kClient;
  request.addresses.clear();
  request.of_node = role == cluster::Role::kNode;
  ASSIGN_OR_RETURN(const auto node, pki::MakeCertificate(request, authority_key, authority_pem));
  return Credentials{member.certificate_pem + member.key_pem, node.certificate_pem + node.key_pem};
}

std::int64_t CertificateSeconds() {
  const char* const forced = std::getenv("GEMEL_CERTIFICATE_SECONDS");
  const std::int64_t seconds = forced == nullptr ? 0 : std::strtoll(forced, nullptr, 10);
  return seconds > 0 ? seconds : kCertificateDays * kDay;
}

Result<bool> NeedsRenewal(std::string_view pem, std::int64_t now, std::int64_t life) {
  ASSIGN_OR_RETURN(const pki::Certificate certificate, pki::ReadCertificate(pem));
  const std::int64_t left = certificate.not_after - now;
  return left < life / 3 || left > 2 * life;
}

Result<std::vector<std::string>> SerialsOf(const Credentials& credentials) {
  ASSIGN_OR_RETURN(const pki::Certificate member, pki::ReadCertificate(credentials.member_pem));
  ASSIGN_OR_RETURN(const pki::Certificate node, pki::ReadCertificate(credentials.node_pem));
  return std::vector<std::string>{member.serial, node.serial};
}

Result<std::string> MakeClusterRevocationList(const std::vector<std::string>& serials,
                                              std::string_view authority_pem,
                                              std::string_view authority_key, std::int64_t now) {
  std::vector<pki::Revoked> revoked;
  revoked.reserve(serials.size());
  for (const std::string& serial : serials) revoked.push_back({serial, now});
  return pki::MakeRevocationList(revoked, now, now - kSkew, now + kAuthorityDays * kDay,
                                 authority_key, authority_pem);
}

Result<std::int64_t> DaysLeft(std::string_view pem, std::int64_t now) {
  ASSIGN_OR_RETURN(const pki::Certificate certificate, pki::ReadCertificate(pem));
  return (certificate.not_after - now) / kDay;
}

}  // namespace gemel::member
