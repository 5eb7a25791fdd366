#include "member/token.h"

#include <cstdint>
#include <optional>

#include "pki/sha256.h"

namespace gemel::member {
namespace {

constexpr std::string_view kPrefix = "gmj_";
constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr char kVersion = 1;
constexpr std::size_t kCheckBytes = 4;
constexpr std::size_t kFingerprintBytes = 32;
constexpr std::size_t kMostText = 1024;

std::string HexOf(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<std::uint8_t>(c));
  return text;
}

std::uint32_t DigitOf(char c) {
  return static_cast<std::uint32_t>(c <= '9' ? c - '0' : c - 'a' + 10);
}

std::string BytesOf(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(DigitOf(hex[i]) << 4 | DigitOf(hex[i + 1]));
  return bytes;
}

// Base 64 of RFC 4648, 5: no padding.
std::string ToText(std::string_view bytes) {
  std::string text;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<std::uint8_t>(c);
    for (count += 8; count >= 6; count -= 6) text += kAlphabet[bits >> (count - 6) & 63];
  }
  if (count > 0) text += kAlphabet[bits << (6 - count) & 63];
  return text;
}

std::optional<std::string> FromText(std::string_view text) {
  std::string bytes;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    const std::size_t digit = kAlphabet.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 255);
  }
  return bytes;
}

// The beginning of its SHA-256: finds letters that were lost.
std::string CheckOf(std::string_view bytes) {
  pki::Sha256 digest;
  digest.Update(bytes);
  return BytesOf(digest.HexDigest().substr(0, 2 * kCheckBytes));
}

}  // namespace

std::string EncodeToken(const Token& token) {
  std::string bytes{kVersion, static_cast<char>(token.role)};
  bytes += BytesOf(token.fingerprint);
  bytes += static_cast<char>(token.address.size());
  bytes += token.address;
  bytes += token.secret;
  return std::string(kPrefix) + ToText(bytes + CheckOf(bytes));
}

Result<Token> DecodeToken(std::string_view text) {
  if (!text.starts_with(kPrefix) || text.size() > kMostText)
    return InvalidArgument("token: not one of gemel cluster invite, which begin with {}", kPrefix);
  const std::optional<std::string> all = FromText(text.substr(kPrefix.size()));
  constexpr std::size_t kLeast = 2 + kFingerprintBytes + 1 + kCheckBytes;
  const auto damaged = [] { return InvalidArgument("token: damaged: copy the whole of it"); };
  if (!all || all->size() < kLeast) return damaged();
  const std::string_view bytes = std::string_view(*all).substr(0, all->size() - kCheckBytes);
  if (CheckOf(bytes) != all->substr(bytes.size())) return damaged();
  if (bytes[0] != kVersion)
    return InvalidArgument("token: of another version of Gemel: install the same here");
  const auto role = static_cast<std::uint8_t>(bytes[1]);
  if (role > static_cast<std::uint8_t>(cluster::Role::kWitness)) return damaged();
  Token token;
  token.role = static_cast<cluster::Role>(role);
  token.fingerprint = HexOf(bytes.substr(2, kFingerprintBytes));
  const std::string_view rest = bytes.substr(2 + kFingerprintBytes);
  const std::size_t length = static_cast<std::uint8_t>(rest[0]);
  if (rest.size() - 1 < length) return damaged();
  token.address = rest.substr(1, length);
  token.secret = rest.substr(1 + length);
  return token;
}

}  // namespace gemel::member
