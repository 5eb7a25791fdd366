// What we read from a certificate: who it names and until when it counts.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gemel::pki {

struct Certificate {
  std::string serial;  // lower-case hexadecimal
  // The name it speaks for: NAME of the first URI "gemel:user:NAME" among its alternative names, else
  // its common name. Empty if it has neither, or one with a zero byte or control character in it.
  std::string name;
  // NAME of the first URI "gemel:node:NAME": its holder is that node of a cluster. Empty if there is none.
  std::string node;
  std::int64_t not_before = 0;  // seconds since 1970
  std::int64_t not_after = 0;
};

// The first certificate of a PEM text. kInvalidArgument if there is none. The text may be a peer's,
// but that it was signed by whom we trust is for TLS to check.
Result<Certificate> ReadCertificate(std::string_view pem);

// 64 hexadecimal digits: SHA-256 of the first certificate of a PEM text, as it is on the wire.
// kInvalidArgument if there is none.
Result<std::string> FingerprintOf(std::string_view pem);

// Whether the PEM certificate was signed by the PEM authority's key. Says nothing about time.
bool IsSignedBy(std::string_view pem, std::string_view authority_pem);

// kInvalidArgument if the PEM key is none, or not that of the PEM certificate.
Status CheckKeyMatches(std::string_view key_pem, std::string_view pem);

// "2027-11-22".
std::string DayText(std::int64_t seconds);

}  // namespace gemel::pki
