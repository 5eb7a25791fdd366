// "key=value,key=value": what options with several parts are made of. Pure.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gemel {

struct KeyValue {
  std::string key;  // empty: a first part without '='
  std::string value;
};

// Cuts `text` at single commas (",," is a comma in a value). kInvalidArgument, naming `argument`
// and the part, for an empty part, a key that is not in `known` (with the nearest that is) or that
// comes twice without being in `repeatable`, and a part without '=' that is not the first.
Result<std::vector<KeyValue>> ParseKeyList(std::string_view argument, std::string_view text,
                                           std::span<const std::string_view> known,
                                           std::span<const std::string_view> repeatable = {});

}  // namespace gemel
