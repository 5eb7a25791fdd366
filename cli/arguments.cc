#include "cli/arguments.h"

#include <CLI/Error.hpp>
#include <algorithm>
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

void PrepareApp(CLI::App& app, const std::string& name) {
  app.name(name);
  app.allow_extras();
  app.get_formatter()->column_width(34);
}

Result<std::optional<std::string>> ParseArguments(CLI::App& app,
                                                  std::span<const std::string> arguments) {
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
