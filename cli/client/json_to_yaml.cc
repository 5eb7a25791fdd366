#include "cli/client/json_to_yaml.h"

#include <algorithm>
#include <vector>

namespace gemel::cli {
namespace {

// Rewrites token by token: the depth of the JSON is the indentation of the YAML.
class Converter {
 public:
  explicit Converter(std::string_view json) : rest_(json) {}

  std::string Convert() {
    while (SkipBlanks(), !rest_.empty()) Step();
    if (!yaml_.empty() && yaml_.back() != '\n') yaml_ += '\n';
    return std::move(yaml_);
  }

 private:
  struct Level {
    bool list;
    bool empty = true;
  };

  void SkipBlanks() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size()));
  }

  void Step() {
    const char c = rest_[0];
    if (c == '{' || c == '[') {
      rest_.remove_prefix(1);
      BeginValue(true);
      levels_.push_back({c == '['});
    } else if (c == '}' || c == ']') {
      rest_.remove_prefix(1);
      End();
    } else if (c == ',' || c == ':') {
      rest_.remove_prefix(1);
      after_key_ = c == ':';
    } else {
      Scalar();
    }
  }

  void End() {
    if (levels_.back().empty) {
      if (!on_dash_ && !yaml_.empty()) yaml_ += ' ';
      yaml_ += levels_.back().list ? "[]" : "{}";
    }
    levels_.pop_back();
    on_dash_ = false;
  }

  // A new line at this level, or on from the "- " of the list that this begins in.
  void BeginLine() {
    if (!on_dash_ && !yaml_.empty()) yaml_ += '\n';
    if (!on_dash_) yaml_.append(2 * (levels_.size() - 1), ' ');
    on_dash_ = false;
  }

  void BeginValue(bool composite) {
    if (levels_.empty()) return;
    Level& level = levels_.back();
    if (level.list) {
      BeginLine();
      yaml_ += '-';
      level.empty = false;
      on_dash_ = composite;
      if (composite) yaml_ += ' ';
    }
    after_key_ = false;
  }

  void Scalar() {
    const std::string_view token = TakeToken();
    const bool key = !levels_.empty() && !levels_.back().list && !after_key_;
    if (key) {
      BeginLine();
      levels_.back().empty = false;
      yaml_ += Plain(token);
      yaml_ += ':';
      return;
    }
    BeginValue(false);
    if (!levels_.empty()) yaml_ += ' ';
    yaml_ += Plain(token);
  }

  std::string_view TakeToken() {
    std::size_t end = 1;
    if (rest_[0] == '"') {
      while (end < rest_.size() && rest_[end] != '"') end += rest_[end] == '\\' ? 2 : 1;
      end = std::min(end + 1, rest_.size());
    } else {
      end = std::min(rest_.find_first_of(",:]} \t\r\n"), rest_.size());
    }
    const std::string_view token = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return token;
  }

  // Without quotes where nobody can take it for anything but this text.
  static std::string_view Plain(std::string_view token) {
    if (token.size() < 3 || token[0] != '"') return token;
    const std::string_view text = token.substr(1, token.size() - 2);
    const bool safe = std::ranges::all_of(text, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '_' || c == '-' || c == '/' || c == '.';
    });
    const bool letter = (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z');
    static constexpr std::string_view kWords[] = {"true", "false", "null", "yes", "no",
                                                  "on",   "off",   "y",    "n"};
    std::string lower(text);
    for (char& c : lower)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return safe && letter && std::ranges::find(kWords, lower) == std::end(kWords) ? text : token;
  }

  std::string_view rest_;
  std::string yaml_;
  std::vector<Level> levels_;
  bool after_key_ = false;
  bool on_dash_ = false;
};

}  // namespace

std::string JsonToYaml(std::string_view json) { return Converter(json).Convert(); }

}  // namespace gemel::cli
