// gemel-vmm's command line. Pure.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/config/sandbox_mode.h"

namespace gemel {

struct VmmOptions {
  // One of the two: a connected control socket, whose end is the machine's; or a listening one, for
  // controllers that come and go.
  int control_fd = -1;
  int listen_fd = -1;
  SandboxMode sandbox = SandboxMode::kDefault;
  int report_fd = -1;  // for sandbox::ConfineProcess; -1: none
  // What gemel-jail could do (its `--jail=user=0,own-user=1,...`, errno values); one layer that is
  // missing if nobody says.
  std::vector<SandboxLayer> jail;
};

// Everything but the program's name. kInvalidArgument for anything unknown.
Result<VmmOptions> ParseVmmOptions(std::span<const char* const> words);

}  // namespace gemel
