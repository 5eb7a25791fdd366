#include "cli/report.h"

#include <unistd.h>

#include "base/log.h"

namespace gemel::cli {
namespace {

void WriteStderr(std::string_view text) { WriteUnlessFull(STDERR_FILENO, text); }

}  // namespace

std::string Printable(std::string_view text, bool keep_lines) {
  std::string shown;
  for (const char c : text) {
    const bool control = (static_cast<unsigned char>(c) < 0x20) || c == 0x7f;
    if (!control || (keep_lines && (c == '\n' || c == '\t')))
      shown += c;
    else
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return shown;
}

std::string ErrorText(const Error& error) {
  const auto [message, hint] = launch::SplitHint(error.message);
  std::string text = fmt::format("error: {}\n", Printable(message));
  if (!hint.empty()) text += fmt::format("  {}\n", Printable(hint));
  return text;
}

void PrintError(const Error& error) { WriteStderr(ErrorText(error)); }

void PrintNote(std::string_view text) {
  WriteStderr(fmt::format("gemel: {}\n", Printable(text, true)));
}

void PrintPrompt(std::string_view text) { WriteStderr(fmt::format("gemel: {}", Printable(text))); }
void PrintTyped(std::string_view bytes) { WriteStderr(bytes); }

}  // namespace gemel::cli
