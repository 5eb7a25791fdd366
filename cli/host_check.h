// gemel host check: what this host can do, and what to do about the rest.
#pragma once
#include <span>
#include <string>

namespace gemel::cli {

// The exit status (exit_status.h): kDone if the host is fit to run VMs, kFailed if not.
int HostCheckCommand(std::span<const std::string> arguments);

}  // namespace gemel::cli
