// What gemel tells a person on stderr.
#pragma once
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "launch/hint.h"

namespace gemel::cli {

using launch::WithHint;

// "error: <message>\n", then "  <hint>\n" if there is one. Control characters are shown as \xNN, so
// that it stays one line whatever the message quotes.
std::string ErrorText(const Error& error);
void PrintError(const Error& error);

// The same text with control characters (C0, DEL) as \xNN; `keep_lines` leaves line breaks and
// tabs.
std::string Printable(std::string_view text, bool keep_lines = false);

// "gemel: <text>", on a line of its own.
void PrintNote(std::string_view text);
// The same, and the line goes on: with what somebody types, shown by PrintTyped.
void PrintPrompt(std::string_view text);
void PrintTyped(std::string_view bytes);

}  // namespace gemel::cli
