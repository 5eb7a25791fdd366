#include "helpers/slirp/options.h"

#include "vmm/config/parse.h"

namespace gemel::usernet {
namespace {

constexpr std::uint32_t kMaxFd = 1 << 20;

Status SetOption(Options& options, std::string_view key, std::string_view value) {
  if (key == "--frames-fd") {
    ASSIGN_OR_RETURN(const std::uint32_t fd, ParseNumber("frames-fd", value, 3, kMaxFd));
    options.frames_fd = static_cast<int>(fd);
  } else if (key == "--name") {
    options.name = value;
  } else if (key == "--net") {
    ASSIGN_OR_RETURN(options.net, ParseNet(value));
  } else {
    return InvalidArgument("{}: unknown", key);
  }
  return {};
}

}  // namespace

Result<Options> ParseOptions(std::span<const char* const> arguments) {
  Options options;
  for (std::size_t i = 0; i < arguments.size(); i += 2) {
    if (arguments.size() - i < 2) return InvalidArgument("{}: without a value", arguments[i]);
    RETURN_IF_ERROR(SetOption(options, arguments[i], arguments[i + 1]));
  }
  if (options.frames_fd < 0)
    return InvalidArgument(
        "usage: gemel-slirp --frames-fd N --net user[,...] (started by gemel run, not by hand)");
  if (options.net.kind != NetConfig::Kind::kUser) return InvalidArgument("net: not of kind user");
  RETURN_IF_ERROR(Validate(options.net));
  return options;
}

}  // namespace gemel::usernet
