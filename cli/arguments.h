// One verb's options and operands, and this project's words for what is wrong with them. CLI11 parses; only
// arguments.cc includes it, because its headers take the compiler longer than most of our files do.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace gemel::cli {

// Keeps references to the variables that its options set: they must outlive it.
class OptionParser {
 public:
  // What more is said of an option, once it is added.
  class Added {
   public:
    explicit Added(CLI::Option* option) : option_(option) {}
    Added Value(const std::string& what);    // SIZE, NAME, …: what the help calls its value
    Added Default(const std::string& text);  // what the help says it is otherwise
    Added Required();
    Added OneValueEach();  // a list takes one value at each mention, not all words that follow

   private:
    CLI::Option* option_;
  };

  // `description` follows the options in the help.
  explicit OptionParser(const std::string& description);
  ~OptionParser();
  OptionParser(const OptionParser&) = delete;
  OptionParser& operator=(const OptionParser&) = delete;

  // `names`: "--memory,-m", or "NAME" for an operand. T: see arguments.cc.
  template <class T>
  Added AddOption(const std::string& names, T& variable, const std::string& help);
  void AddFlag(const std::string& names, bool& variable, const std::string& help);

  // The help if it was asked for, else nullopt and the variables are set. kInvalidArgument for anything that
  // is not known or is missing. `name` is what the user typed: "gemel run".
  Result<std::optional<std::string>> Parse(const std::string& name,
                                           std::span<const std::string> arguments);

 private:
  const std::unique_ptr<CLI::App> app_;
};

}  // namespace gemel::cli
