// A number for a text that is the same on every machine and for ever: addresses and UUIDs are made
// of it. No secret, and no proof against people who look for two texts of one number.
#pragma once
#include <cstdint>
#include <string_view>

namespace gemel {

constexpr std::uint64_t kHashStart = 0xcbf29ce484222325;

// FNV-1a, to be continued with the next part of the text.
constexpr std::uint64_t Hash(std::uint64_t hash, std::string_view text) {
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  return hash;
}

// Its last step: the last bytes reach the low bits alone until then.
constexpr std::uint64_t Mixed(std::uint64_t hash) {
  hash ^= hash >> 29;
  hash *= 0xbf58476d1ce4e5b9;
  return hash ^ hash >> 32;
}

}  // namespace gemel
