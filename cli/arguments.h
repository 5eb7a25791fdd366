// Parses one verb's arguments with CLI11, in this project's words for what is wrong.
#pragma once
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"

namespace gemel::cli {

// Makes `app` ready: its help comes as text, its surplus is judged by ParseArguments. `name` is
// what the user types ("gemel run").
void PrepareApp(CLI::App& app, const std::string& name);

// The help if it was asked for, else nullopt and the app's variables are set. kInvalidArgument for
// anything that the app does not know or misses.
Result<std::optional<std::string>> ParseArguments(CLI::App& app,
                                                  std::span<const std::string> arguments);

}  // namespace gemel::cli
