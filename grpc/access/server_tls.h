// TLS 1.3 with client certificates for gRPC's servers, and what gRPC knows of a call's peer. One of
// the two places of this folder that know gRPC.
#pragma once
#include <memory>
#include <string>

#include "base/result.h"
#include "grpc/access/identity.h"
#include "pki/revocation_list.h"

namespace grpc {
class ServerContextBase;
class ServerCredentials;
}  // namespace grpc

namespace gemel::access {

// PEM files, as gemel pki lays them out; `Of` names those of its folder.
struct TlsFiles {
  std::string certificate;
  std::string key;
  std::string authority;
  std::string revocation_list;  // empty: none is kept
  static TlsFiles Of(const std::string& pki_folder);
};

// Leaves gRPC, for TLS 1.2, only a cipher that no certificate of ours can serve: gRPC 1.51 has no
// option for the least version. Once, before anything of gRPC runs and before other threads do.
void AllowTls13Alone();

struct ServerTls {
  std::shared_ptr<grpc::ServerCredentials> credentials;
  // For CertificateIdentity: what the handshake was shown may be revoked while the connection lives. Null
  // without a list.
  std::shared_ptr<pki::RevocationList> revoked;
};

// Clients must show a certificate of the authority that is neither expired nor revoked. Certificate,
// key and authority are read again within a second of a change, for new connections; the
// revocation list at each handshake. Fails, naming the file, if something cannot be read or does not
// belong together.
Result<ServerTls> MakeServerTls(const TlsFiles& files);

PeerFacts FactsOf(const grpc::ServerContextBase& context);

}  // namespace gemel::access
