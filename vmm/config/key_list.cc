#include "vmm/config/key_list.h"

#include <algorithm>

#include "vmm/config/suggest.h"

namespace gemel {
namespace {

std::vector<std::string> SplitParts(std::string_view text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += ',';
      ++i;
    } else {
      parts.emplace_back();
    }
  }
  return parts;
}

std::unexpected<Error> UnknownKey(std::string_view argument, std::string_view part,
                                  std::string_view key, std::span<const std::string_view> known) {
  const std::string_view nearest = NearestWord(key, known);
  if (nearest.empty())
    return InvalidArgument("{}: {}: unknown key; there are {}", argument, part, JoinWords(known));
  return InvalidArgument("{}: {}: unknown key; did you mean {}? (there are {})", argument, part,
                         nearest, JoinWords(known));
}

}  // namespace

Result<std::vector<KeyValue>> ParseKeyList(std::string_view argument, std::string_view text,
                                           std::span<const std::string_view> known,
                                           std::span<const std::string_view> repeatable) {
  std::vector<KeyValue> list;
  for (const std::string& part : SplitParts(text)) {
    if (part.empty()) return InvalidArgument("{}: {}: an empty part", argument, text);
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos) {
      if (!list.empty())
        return InvalidArgument("{}: {}: not KEY=VALUE (a comma in a value is written twice)",
                               argument, part);
      list.push_back({"", part});
      continue;
    }
    KeyValue pair{part.substr(0, equals), part.substr(equals + 1)};
    if (std::ranges::find(known, pair.key) == known.end())
      return UnknownKey(argument, part, pair.key, known);
    if (std::ranges::find(list, pair.key, &KeyValue::key) != list.end() &&
        std::ranges::find(repeatable, pair.key) == repeatable.end())
      return InvalidArgument("{}: {}: given twice", argument, part);
    list.push_back(std::move(pair));
  }
  return list;
}

}  // namespace gemel
