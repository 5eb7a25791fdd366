#include "pki/authority_index.h"

#include <algorithm>
#include <charconv>

namespace gemel::pki {
namespace {

std::string_view TakeWord(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(word.size());
  return word;
}

std::optional<std::int64_t> SecondsIn(std::string_view word) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

bool ParseEntry(std::string_view line, IssuedCertificate& entry) {
  entry.serial = TakeWord(line);
  const std::string_view purpose = TakeWord(line);
  entry.name = TakeWord(line);
  const auto not_before = SecondsIn(TakeWord(line));
  const auto not_after = SecondsIn(TakeWord(line));
  const std::string_view revoked = TakeWord(line);
  if (revoked != "-") entry.revoked = SecondsIn(revoked);
  const bool server = purpose == PurposeName(Purpose::kServer);
  entry.purpose = server ? Purpose::kServer : Purpose::kClient;
  entry.not_before = not_before.value_or(0);
  entry.not_after = not_after.value_or(0);
  return (server || purpose == PurposeName(Purpose::kClient)) && not_before && not_after &&
         (revoked == "-" || entry.revoked) && TakeWord(line).empty() &&
         entry.serial.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace

std::string_view PurposeName(Purpose purpose) {
  return purpose == Purpose::kServer ? "server" : "client";
}

Result<std::vector<IssuedCertificate>> ParseIndex(std::string_view text) {
  std::vector<IssuedCertificate> index;
  for (int number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.empty() || line.starts_with('#')) continue;
    IssuedCertificate entry;
    if (!ParseEntry(line, entry))
      return MakeError(Code::kDataLoss, fmt::format("line {}: not understood: {}", number, line));
    index.push_back(std::move(entry));
  }
  return index;
}

std::string FormatIndex(const std::vector<IssuedCertificate>& index) {
  std::string text = "# SERIAL KIND NAME NOT_BEFORE NOT_AFTER REVOKED (seconds since 1970, or -)\n";
  for (const IssuedCertificate& entry : index) {
    text += fmt::format("{} {} {} {} {} {}\n", entry.serial, PurposeName(entry.purpose), entry.name,
                        entry.not_before, entry.not_after,
                        entry.revoked ? fmt::format("{}", *entry.revoked) : "-");
  }
  return text;
}

}  // namespace gemel::pki
