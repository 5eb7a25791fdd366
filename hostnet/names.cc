#include "hostnet/names.h"

#include <algorithm>
#include <cstdint>

namespace gemel::hostnet {
namespace {

constexpr std::string_view kDigits = "abcdefghijklmnopqrstuvwxyz234567";
constexpr std::size_t kHashed = 8;
constexpr std::size_t kLongestPrefix = 5;

std::string Hashed(std::uint64_t hash, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i, hash >>= 5) text += kDigits[hash & 31];
  return text;
}

}  // namespace

// FNV-1a with a last mixing step (of MurmurHash3), so that the low bits depend on every byte.
std::uint64_t StableHash(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccd;
  return hash ^ (hash >> 33);
}

Result<Names> Names::Create(std::string prefix) {
  const bool good = !prefix.empty() && prefix.size() <= kLongestPrefix && prefix[0] >= 'a' &&
                    prefix[0] <= 'z' && std::ranges::all_of(prefix, [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
                    });
  if (good) return Names(std::move(prefix));
  return InvalidArgument("prefix \"{}\": must be 1 to {} of a-z and 0-9, a letter first", prefix,
                         kLongestPrefix);
}

std::string Names::Bridge(std::string_view network_uid) const {
  return prefix_ + "br" + Hashed(StableHash(network_uid), kHashed);
}

std::string Names::Tap(std::string_view port_uid) const {
  return prefix_ + "tp" + Hashed(StableHash(port_uid), kHashed);
}

bool Names::Is(std::string_view name, std::string_view what) const {
  if (!name.starts_with(prefix_)) return false;
  name.remove_prefix(prefix_.size());
  return name.size() == what.size() + kHashed && name.starts_with(what) &&
         name.find_first_not_of(kDigits) == std::string_view::npos;
}

std::string PrefixFor(std::string_view state_dir) {
  while (state_dir.size() > 1 && state_dir.ends_with('/')) state_dir.remove_suffix(1);
  return state_dir == "/var/lib/gemel" ? "gm" : "g" + Hashed(StableHash(state_dir), 4);
}

}  // namespace gemel::hostnet
