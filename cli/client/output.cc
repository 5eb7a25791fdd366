#include "cli/client/output.h"

#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "cli/report.h"
#include "vmm/config/suggest.h"

namespace gemel::cli {
namespace {

// Characters, not bytes: names may be UTF-8.
std::size_t WidthOf(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80; }));
}

std::string_view PaintOf(std::string_view cell) {
  if (cell == "running" || cell == "ready" || cell == "ok") return "\x1b[32m";
  if (cell == "failed") return "\x1b[31m";
  if (cell == "starting" || cell == "stopping" || cell == "paused" || cell == "degraded")
    return "\x1b[33m";
  return "";
}

}  // namespace

Result<Format> ParseFormat(std::string_view text) {
  static constexpr std::array<std::string_view, 5> kNames = {"table", "wide", "json", "yaml",
                                                             "name"};
  const auto* const found = std::ranges::find(kNames, text);
  if (found == kNames.end())
    return InvalidArgument("output: {}: unknown; there is {}", text, JoinWords(kNames));
  return static_cast<Format>(found - kNames.begin());
}

std::string Table::Text(bool wide, bool colour, bool title) const {
  std::vector<std::size_t> shown;
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].wide && !wide) continue;
    std::size_t width = columns_[i].title.size();
    for (const auto& row : rows_) width = std::max(width, WidthOf(row[i]));
    shown.push_back(i);
    widths.push_back(width);
  }
  std::string text;
  const auto add_line = [&](const auto& cell_of, bool paint) {
    for (std::size_t k = 0; k < shown.size(); ++k) {
      const std::string cell = Printable(cell_of(shown[k]));
      const std::string_view shown_cell = cell.empty() ? "-" : std::string_view(cell);
      const std::string_view style =
          paint && columns_[shown[k]].title == "STATE" ? PaintOf(cell) : "";
      text += fmt::format("{}{}{}", style, shown_cell, style.empty() ? "" : "\x1b[0m");
      if (k + 1 < shown.size()) text.append(widths[k] - WidthOf(shown_cell) + 2, ' ');
    }
    text += '\n';
  };
  if (title) add_line([this](std::size_t i) { return columns_[i].title; }, false);
  for (const auto& row : rows_)
    add_line([&row](std::size_t i) { return std::string_view(row[i]); }, colour);
  return text;
}

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(message, &json, options).ok()) return "{}\n";
  return json;
}

std::string ToJson(const std::vector<const google::protobuf::Message*>& messages) {
  std::string json = "[";
  for (const google::protobuf::Message* message : messages)
    json += (json.size() == 1 ? "\n" : ",\n") + ToJson(*message);
  return json + "]\n";
}

bool OnTerminal(int fd) { return isatty(fd) == 1; }

bool ColourWanted() {
  const char* const no_colour = std::getenv("NO_COLOR");
  const char* const term = std::getenv("TERM");
  return OnTerminal(STDOUT_FILENO) && (no_colour == nullptr || *no_colour == '\0') &&
         term != nullptr && std::string_view(term) != "dumb";
}

std::string EnumWord(std::string_view name, std::string_view prefix) {
  if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  if (name == "UNSPECIFIED") return "";
  std::string word(name);
  for (char& c : word)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  std::ranges::replace(word, '_', '-');
  return word;
}

std::string Ago(const google::protobuf::Timestamp& time, std::int64_t now_seconds) {
  if (time.seconds() == 0) return "";
  const std::int64_t seconds = std::max<std::int64_t>(0, now_seconds - time.seconds());
  if (seconds < 120) return fmt::format("{}s", seconds);
  if (seconds < 7200) return fmt::format("{}m", seconds / 60);
  if (seconds < 172'800) return fmt::format("{}h", seconds / 3600);
  return fmt::format("{}d", seconds / 86'400);
}

Status Print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    return MakeError(Code::kUnavailable, "standard output is closed");
  return {};
}

}  // namespace gemel::cli
