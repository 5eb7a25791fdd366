#include "grpc/access/server_tls.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/server_context.h>

#include <cstdlib>

#include "base/file_util.h"
#include "base/log.h"
#include "grpc/access/forwarded.h"
#include "pki/certificate.h"

namespace gemel::access {
namespace {

namespace tls = grpc::experimental;

std::string TextOf(const grpc::string_ref& text) { return {text.data(), text.size()}; }

// Refuses revoked certificates at the handshake. Who signed it and when it counts was OpenSSL's to
// check before this.
class RevocationVerifier : public tls::ExternalCertificateVerifier {
 public:
  explicit RevocationVerifier(std::shared_ptr<pki::RevocationList> revoked)
      : revoked_(std::move(revoked)) {}

  bool Verify(tls::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* status) override {
    const auto certificate = pki::ReadCertificate(TextOf(request->peer_cert()));
    if (!certificate || revoked_->IsRevoked(certificate->serial)) {
      LOG(kWarning, "access", "refused a connection: {}",
          certificate ? fmt::format("the certificate of {} (serial {}) was revoked",
                                    certificate->name, certificate->serial)
                      : "its certificate cannot be read");
      *status = grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "certificate revoked");
    }
    return true;  // answered
  }
  void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}

 private:
  const std::shared_ptr<pki::RevocationList> revoked_;
};

Status CheckFiles(const TlsFiles& files) {
  ASSIGN_OR_RETURN(const std::string certificate, ReadTextFile(files.certificate));
  ASSIGN_OR_RETURN(const std::string authority, ReadTextFile(files.authority));
  ASSIGN_OR_RETURN(const std::string key, ReadTextFile(files.key));
  auto read = pki::ReadCertificate(certificate);
  if (!read) return WithContext(std::move(read).error(), files.certificate);
  auto matches = pki::CheckKeyMatches(key, certificate);
  if (!matches) return WithContext(std::move(matches).error(), files.key);
  if (!pki::ReadCertificate(authority))
    return InvalidArgument("{}: not a PEM certificate", files.authority);
  return {};
}

}  // namespace

TlsFiles TlsFiles::Of(const std::string& pki_folder) {
  return {pki_folder + "/server/cert.pem", pki_folder + "/server/key.pem", pki_folder + "/ca.pem",
          pki_folder + "/crl.pem"};
}

void AllowTls13Alone() {
  // Needs a key agreed on beforehand, which nobody ever gives it. TLS 1.3's ciphers are a list of
  // their own, which this does not touch.
  setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", 1);
}

Result<ServerTls> MakeServerTls(const TlsFiles& files) {
  RETURN_IF_ERROR(CheckFiles(files));
  std::shared_ptr<pki::RevocationList> revoked;
  if (!files.revocation_list.empty()) {
    ASSIGN_OR_RETURN(revoked, pki::RevocationList::Open(files.revocation_list, files.authority));
  }
  constexpr unsigned kRefreshSeconds = 1;
  tls::TlsServerCredentialsOptions options(std::make_shared<tls::FileWatcherCertificateProvider>(
      files.key, files.certificate, files.authority, kRefreshSeconds));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  if (revoked != nullptr)
    options.set_certificate_verifier(
        tls::ExternalCertificateVerifier::Create<RevocationVerifier>(revoked));
  options.set_check_call_host(false);
  return ServerTls{tls::TlsServerCredentials(options), std::move(revoked)};
}

PeerFacts FactsOf(const grpc::ServerContextBase& context) {
  PeerFacts facts;
  facts.peer = context.peer();
  const auto& metadata = context.client_metadata();
  if (const auto found = metadata.find("authorization"); found != metadata.end())
    facts.authorization = TextOf(found->second);
  if (const auto found =
          metadata.find(grpc::string_ref(kForwardedKey.data(), kForwardedKey.size()));
      found != metadata.end())
    facts.forwarded = TextOf(found->second);
  const auto auth = context.auth_context();
  if (!auth || !auth->IsPeerAuthenticated()) return facts;
  const auto pem = auth->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (pem.size() == 1) facts.certificate_pem = TextOf(pem[0]);
  return facts;
}

}  // namespace gemel::access
