#include "cli/arguments.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Error.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstdint>
#include <vector>

#include "cli/report.h"
#include "vmm/config/suggest.h"

namespace gemel::cli {
namespace {

std::unexpected<Error> Refuse(const CLI::App& app, std::string message) {
  return std::unexpected(WithHint(Error{Code::kInvalidArgument, std::move(message)},
                                  fmt::format("see: {} --help", app.get_name())));
}

std::unexpected<Error> RefuseUnknown(const CLI::App& app, const std::string& word) {
  if (!word.starts_with("-")) return Refuse(app, word + ": an argument too many");
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  const std::vector<std::string_view> known(names.begin(), names.end());
  const std::string name = word.substr(0, word.find('='));
  const std::string_view nearest = NearestWord(name, known);
  if (nearest.empty()) return Refuse(app, name + ": unknown option");
  return Refuse(app, fmt::format("{}: unknown option; did you mean {}?", name, nearest));
}

}  // namespace

OptionParser::Added OptionParser::Added::Value(const std::string& what) {
  option_->type_name(what);
  return *this;
}

OptionParser::Added OptionParser::Added::Default(const std::string& text) {
  option_->default_str(text);
  return *this;
}

OptionParser::Added OptionParser::Added::Required() {
  option_->required();
  return *this;
}

OptionParser::Added OptionParser::Added::OneValueEach() {
  option_->allow_extra_args(false);
  return *this;
}

OptionParser::OptionParser(const std::string& description)
    : app_(std::make_unique<CLI::App>(description)) {
  app_->allow_extras();
  app_->get_formatter()->column_width(34);
}

OptionParser::~OptionParser() = default;

template <class T>
OptionParser::Added OptionParser::AddOption(const std::string& names, T& variable,
                                            const std::string& help) {
  return Added(app_->add_option(names, variable, help));
}

// What options can be.
template OptionParser::Added OptionParser::AddOption(const std::string&, std::string&,
                                                     const std::string&);
template OptionParser::Added OptionParser::AddOption(const std::string&, std::vector<std::string>&,
                                                     const std::string&);
template OptionParser::Added OptionParser::AddOption(const std::string&, int&, const std::string&);
template OptionParser::Added OptionParser::AddOption(const std::string&, std::uint16_t&,
                                                     const std::string&);
template OptionParser::Added OptionParser::AddOption(const std::string&, std::uint64_t&,
                                                     const std::string&);

void OptionParser::AddFlag(const std::string& names, bool& variable, const std::string& help) {
  app_->add_flag(names, variable, help);
}

Result<std::optional<std::string>> OptionParser::Parse(const std::string& name,
                                                       std::span<const std::string> arguments) {
  CLI::App& app = *app_;
  app.name(name);
  // CLI11 wants them last first; it reports by exceptions, which end here.
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    return std::optional(app.help());
  } catch (const CLI::ArgumentMismatch& error) {
    // "--name: 1 required TEXT missing", "--memory: At Most 1 required but received 2"
    const std::string what = error.what();
    return Refuse(app, fmt::format("{}: {}", what.substr(0, what.find(':')),
                                   what.ends_with("missing") ? "its value is missing"
                                                             : "given more than once"));
  } catch (const CLI::ParseError& error) {
    return Refuse(app, error.what());
  }
  const std::vector<std::string> extras = app.remaining();
  if (!extras.empty()) return RefuseUnknown(app, extras.front());
  return std::optional<std::string>();
}

}  // namespace gemel::cli
