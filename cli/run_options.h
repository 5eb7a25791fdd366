// `gemel run`'s arguments as values. Pure: looks at nothing but the words.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "base/log.h"
#include "base/result.h"
#include "vmm/config/machine_config.h"
#include "vmm/config/sandbox_mode.h"

namespace gemel::cli {

struct RunOptions {
  MachineConfig config;  // has passed Validate
  std::optional<std::int64_t> timeout_ms;
  LogLevel log_level = LogLevel::kInfo;
  SandboxMode sandbox = SandboxMode::kDefault;
};

// The text that --help asks for.
struct HelpText {
  std::string text;
};

// kInvalidArgument with the line for the user (and a hint, cli/report.h).
Result<std::variant<RunOptions, HelpText>> ParseRunOptions(std::span<const std::string> arguments);

}  // namespace gemel::cli
