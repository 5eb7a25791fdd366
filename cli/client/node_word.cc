#include "cli/client/node_word.h"

#include <fmt/format.h>

#include <algorithm>

namespace gemel::cli {
namespace {

constexpr std::string_view kBegin = "--yes-";
constexpr std::string_view kEnd = "-is-off";

bool IsOfAName(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

}  // namespace

std::vector<std::string> OffFlags(std::span<const std::string> words) {
  std::vector<std::string> flags;
  for (const std::string& word : words)
    if (word.size() > kBegin.size() + kEnd.size() && word.starts_with(kBegin) &&
        word.ends_with(kEnd) && std::ranges::all_of(word, IsOfAName))
      flags.push_back(word);
  return flags;
}

Result<bool> SaysOff(const std::vector<std::string>& flags, const std::string& node) {
  for (const std::string& flag : flags)
    if (flag != fmt::format("{}{}{}", kBegin, node, kEnd))
      return InvalidArgument("{}: this is about {}", flag, node);
  return !flags.empty();
}

}  // namespace gemel::cli
