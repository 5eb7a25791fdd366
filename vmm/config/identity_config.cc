#include "vmm/config/identity_config.h"

#include <algorithm>
#include <array>
#include <vector>

#include "vmm/config/key_list.h"
#include "vmm/config/stable_hash.h"

namespace gemel {
namespace {

constexpr std::size_t kUuidText = 36;

bool IsDash(std::size_t at) { return at == 8 || at == 13 || at == 18 || at == 23; }

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Status ValidateText(std::string_view key, std::string_view text) {
  const auto printable = [](char c) { return c >= 0x20 && c < 0x7f; };
  if (text.size() > kMaxIdentityBytes || !std::ranges::all_of(text, printable))
    return InvalidArgument("smbios: {}={}: not at most {} printable ASCII characters", key, text,
                           kMaxIdentityBytes);
  return {};
}

}  // namespace

Result<Uuid> ParseUuid(std::string_view text) {
  Uuid uuid{};
  std::size_t digits = 0;
  bool good = text.size() == kUuidText;
  for (std::size_t i = 0; good && i < text.size(); ++i) {
    if (IsDash(i)) {
      good = text[i] == '-';
      continue;
    }
    const int digit = HexDigit(text[i]);
    good = digit >= 0;
    if (good) uuid[digits / 2] = static_cast<std::uint8_t>(uuid[digits / 2] << 4 | digit);
    ++digits;
  }
  if (!good)
    return InvalidArgument("uuid: {}: not of the form 00112233-4455-6677-8899-aabbccddeeff", text);
  if (uuid == Uuid{}) return InvalidArgument("uuid: {}: all zero means that there is none", text);
  return uuid;
}

std::string FormatUuid(const Uuid& uuid) {
  std::string text;
  for (const std::uint8_t byte : uuid) {
    if (IsDash(text.size())) text += '-';
    text += fmt::format("{:02x}", byte);
  }
  return text;
}

Uuid DeriveUuid(std::string_view identity) {
  const std::uint64_t start = Hash(kHashStart, identity);
  Uuid uuid{};
  for (std::size_t half = 0; half < 2; ++half) {
    const std::uint64_t hash = Mixed(Hash(start, half == 0 ? "/uuid0" : "/uuid1"));
    for (std::size_t i = 0; i < 8; ++i)
      uuid[8 * half + i] = static_cast<std::uint8_t>(hash >> (8 * i));
  }
  uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0f) | 0x80);
  uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3f) | 0x80);
  return uuid;
}

Status ParseSmbios(std::string_view text, IdentityConfig& identity) {
  static constexpr std::array<std::string_view, 3> kKeys = {"product", "serial", "asset"};
  ASSIGN_OR_RETURN(const std::vector<KeyValue> list, ParseKeyList("smbios", text, kKeys));
  for (const KeyValue& pair : list) {
    if (pair.key.empty())
      return InvalidArgument("smbios: {}: not KEY=VALUE; keys are product, serial and asset",
                             pair.value);
    if (pair.key == "product") identity.product = pair.value;
    if (pair.key == "serial") identity.serial = pair.value;
    if (pair.key == "asset") identity.asset = pair.value;
  }
  return {};
}

Status Validate(const IdentityConfig& identity) {
  RETURN_IF_ERROR(ValidateText("product", identity.product));
  RETURN_IF_ERROR(ValidateText("serial", identity.serial));
  return ValidateText("asset", identity.asset);
}

}  // namespace gemel
