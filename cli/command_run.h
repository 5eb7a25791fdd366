// gemel run: a VM in the foreground.
#pragma once
#include <span>
#include <string>

namespace gemel::cli {

// The exit status (exit_status.h).
int RunCommand(std::span<const std::string> arguments);

}  // namespace gemel::cli
