// What an authority has issued: a line a certificate, so that it can be listed and revoked. The
// revocation list is made from this.
//
//   # SERIAL KIND NAME NOT_BEFORE NOT_AFTER REVOKED (seconds since 1970, or -)
//   41f0...  client alice 1795386664 1829600000 -
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "pki/make_certificate.h"

namespace gemel::pki {

struct IssuedCertificate {
  std::string serial;
  Purpose purpose = Purpose::kClient;
  std::string name;
  std::int64_t not_before = 0;
  std::int64_t not_after = 0;
  std::optional<std::int64_t> revoked{};
  bool operator==(const IssuedCertificate&) const = default;

  bool valid_at(std::int64_t now) const { return !revoked && now <= not_after; }
};

// kDataLoss with the line's number for anything not understood.
Result<std::vector<IssuedCertificate>> ParseIndex(std::string_view text);
std::string FormatIndex(const std::vector<IssuedCertificate>& index);
std::string_view PurposeName(Purpose purpose);

}  // namespace gemel::pki
