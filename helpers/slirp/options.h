// gemel-slirp's arguments. Pure.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "vmm/config/net_config.h"

namespace gemel::usernet {

struct Options {
  int frames_fd = -1;  // the socket to the VM, from 3
  std::string name;    // the VM's, for log lines; may be empty
  NetConfig net;       // kUser, has passed Validate
};

// "--frames-fd N --net user[,KEY=VALUE] [--name VM]": the words of --net are those of gemel run.
// kInvalidArgument otherwise.
Result<Options> ParseOptions(std::span<const char* const> arguments);

}  // namespace gemel::usernet
