// Keys, certificates and revocation lists as PEM text. EC P-256 and SHA-256 throughout; RFC 5280.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gemel::pki {

struct KeyAndCertificate {
  std::string key_pem;  // PKCS #8, unencrypted
  std::string certificate_pem;
  std::string serial;
  std::int64_t not_before = 0;  // seconds since 1970
  std::int64_t not_after = 0;
};

// A self-signed authority that can sign end certificates alone.
Result<KeyAndCertificate> MakeAuthority(const std::string& name, std::int64_t not_before,
                                        std::int64_t not_after);

// A peer is both server and client, under the addresses of a server.
enum class Purpose : std::uint8_t { kServer, kClient, kPeer };

struct CertificateRequest {
  Purpose purpose = Purpose::kClient;
  std::string name;  // common name; of a client also the URI gemel:user:NAME
  // Of a server: what clients may call it. An IP address becomes one, all else a DNS name.
  std::vector<std::string> addresses;
  std::int64_t not_before = 0;
  std::int64_t not_after = 0;
  bool of_node = false;  // of a client: also the URI gemel:node:NAME (certificate.h)
};

// kInvalidArgument names the name or address that cannot be in a certificate.
Result<KeyAndCertificate> MakeCertificate(const CertificateRequest& request,
                                          std::string_view authority_key_pem,
                                          std::string_view authority_pem);

struct Revoked {
  std::string serial;
  std::int64_t time = 0;
};

// A revocation list that names these, signed by the authority.
Result<std::string> MakeRevocationList(std::span<const Revoked> revoked, std::int64_t number,
                                       std::int64_t now, std::int64_t next_update,
                                       std::string_view authority_key_pem,
                                       std::string_view authority_pem);

}  // namespace gemel::pki
