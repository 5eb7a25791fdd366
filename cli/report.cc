#include "cli/report.h"

#include <unistd.h>

#include "base/log.h"

namespace gemel::cli {
namespace {

void WriteStderr(std::string_view text) { WriteUnlessFull(STDERR_FILENO, text); }

}  // namespace

Error WithHint(Error error, std::string_view hint) {
  error.message += '\0';
  error.message += hint;
  return error;
}

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
  const std::string_view message = error.message;
  const std::size_t zero = message.find('\0');
  std::string text = fmt::format("error: {}\n", Printable(message.substr(0, zero)));
  if (zero != std::string_view::npos)
    text += fmt::format("  {}\n", Printable(message.substr(zero + 1)));
  return text;
}

void PrintError(const Error& error) { WriteStderr(ErrorText(error)); }

void PrintNote(std::string_view text) {
  WriteStderr(fmt::format("gemel: {}\n", Printable(text, true)));
}

}  // namespace gemel::cli
