// The line of an error that says what to do about it. It travels in the message behind a zero byte,
// which no argument can contain.
#pragma once
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace gemel::launch {

inline Error WithHint(Error error, std::string_view hint) {
  error.message += '\0';
  error.message += hint;
  return error;
}

struct MessageAndHint {
  std::string_view message;
  std::string_view hint;  // empty: none
};

inline MessageAndHint SplitHint(std::string_view text) {
  const std::size_t zero = text.find('\0');
  if (zero == std::string_view::npos) return {text, {}};
  return {text.substr(0, zero), text.substr(zero + 1)};
}

}  // namespace gemel::launch
