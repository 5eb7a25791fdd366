// Text as a JSON string. For the few places that write JSON without a library.
#pragma once
#include <string>
#include <string_view>

namespace gemel {

// In quotes, with control characters as \u00XX; bytes that are not UTF-8 become U+FFFD, so that
// every parser takes the result.
std::string JsonQuoted(std::string_view text);

}  // namespace gemel
