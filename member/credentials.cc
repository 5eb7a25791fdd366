#include "member/credentials.h"

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
                                     std::string_view authority_pem, std::string_view authority_key,
                                     std::int64_t now, std::int64_t days) {
  pki::CertificateRequest request{
      pki::Purpose::kPeer, name, {address}, now - kSkew, now + days * kDay};
  ASSIGN_OR_RETURN(const auto member, pki::MakeCertificate(request, authority_key, authority_pem));
  // Of no address: etcd would ask a client to come from there.
  request.purpose = pki::Purpose::kClient;
  request.addresses.clear();
  ASSIGN_OR_RETURN(const auto node, pki::MakeCertificate(request, authority_key, authority_pem));
  return Credentials{member.certificate_pem + member.key_pem, node.certificate_pem + node.key_pem};
}

Result<std::int64_t> DaysLeft(std::string_view pem, std::int64_t now) {
  ASSIGN_OR_RETURN(const pki::Certificate certificate, pki::ReadCertificate(pem));
  return (certificate.not_after - now) / kDay;
}

}  // namespace gemel::member
