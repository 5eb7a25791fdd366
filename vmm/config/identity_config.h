// What a machine says of itself in SMBIOS, where cloud-init and inventories read it. Server profile
// only.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gemel {

// In the order of the text form ("00112233-4455-…"), as RFC 4122 has it.
using Uuid = std::array<std::uint8_t, 16>;

inline constexpr std::size_t kMaxIdentityBytes = 128;

// Texts are printable ASCII; empty: the machine type's own, or none.
struct IdentityConfig {
  Uuid uuid{};          // all zero: a new one at each start of the VM (not at a reset)
  std::string product;  // system product name
  std::string serial;   // system serial number
  std::string asset;    // asset tag of the chassis
  bool operator==(const IdentityConfig&) const = default;
};

// "00112233-4455-6677-8899-aabbccddeeff", upper or lower case; not all zero.
Result<Uuid> ParseUuid(std::string_view text);
// As ParseUuid reads it, in lower case.
std::string FormatUuid(const Uuid& uuid);
// Always the same for the same text; RFC 9562, version 8.
Uuid DeriveUuid(std::string_view identity);
// "product=TEXT,serial=TEXT,asset=TEXT", any of them, added to `identity`.
Status ParseSmbios(std::string_view text, IdentityConfig& identity);
// kInvalidArgument for a text that SMBIOS cannot hold.
Status Validate(const IdentityConfig& identity);

}  // namespace gemel
