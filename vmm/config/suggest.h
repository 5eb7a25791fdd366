// "did you mean": the known word nearest to a mistyped one.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace gemel {

// The word of `known` that is within a third of its length (at least 1, at most 3) of single-letter
// changes, the nearest first; empty if there is none.
std::string_view NearestWord(std::string_view word, std::span<const std::string_view> known);

// "a, b, c"
std::string JoinWords(std::span<const std::string_view> words);

}  // namespace gemel
