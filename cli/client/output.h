// What a command prints: tables for people, the API's own messages for programs.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace google::protobuf {
class Message;
class Timestamp;
}  // namespace google::protobuf

namespace gemel::cli {

enum class Format : std::uint8_t { kTable, kWide, kJson, kYaml, kName };
Result<Format> ParseFormat(std::string_view text);

struct Column {
  std::string_view title;
  bool wide = false;  // with -o wide alone
};

// A row has a cell for each column; "" is shown as "-".
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  // Columns two spaces apart, the last one ragged. `colour` paints what STATE says.
  std::string Text(bool wide, bool colour, bool title = true) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Field names as in the .proto files; 64-bit numbers are strings, as protobuf's JSON has them.
std::string ToJson(const google::protobuf::Message& message);
// "[...]" of several.
std::string ToJson(const std::vector<const google::protobuf::Message*>& messages);

// Standard output is a terminal that takes colours, and the user wants them (NO_COLOR).
bool ColourWanted();
bool OnTerminal(int fd);

// "RUNNING" of "VIRTUAL_MACHINE_STATE_RUNNING", in lower case: "running".
std::string EnumWord(std::string_view name, std::string_view prefix);
// How long ago, for people: "9s", "5m", "3h", "12d"; "" for none.
std::string Ago(const google::protobuf::Timestamp& time, std::int64_t now_seconds);

// To standard output; kUnavailable if nobody reads it any more.
Status Print(std::string_view text);

}  // namespace gemel::cli
