#include "vmm/process/vmm_options.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

namespace gemel {
namespace {

struct LayerName {
  std::string_view word;  // gemel-jail's (jail/shared.h)
  std::string_view name;  // for people
};
constexpr std::array<LayerName, 9> kLayers = {{
    {"user", "user namespace"},
    {"pid", "pid namespace"},
    {"mount", "mount namespace"},
    {"network", "network namespace"},
    {"ipc", "IPC namespace"},
    {"root", "empty root"},
    {"own-user", "own user"},
    {"capabilities", "no capabilities"},
    {"cgroup", "cgroup"},
}};

Result<int> ParseInt(std::string_view what, std::string_view text, int least) {
  int value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || value < least)
    return InvalidArgument("{}: {}: not a number from {}", what, text, least);
  return value;
}

std::string WhyMissing(std::string_view word, int error) {
  if (error == 0) return "";
  if (word == "own-user" && error == EPERM) return "needs root";
  if (word == "cgroup" && error == ENOENT) return "no cgroup v2";
  if (word == "user" && (error == EPERM || error == ENOSPC)) return "this host forbids it";
  if (word != "cgroup" && error == EPERM) return "needs root or a user namespace";
  return std::strerror(error);
}

Result<SandboxLayer> ParseLayer(std::string_view text) {
  const std::size_t equals = text.find('=');
  const std::string_view word = text.substr(0, equals);
  if (equals != text.npos) {
    for (const LayerName& layer : kLayers) {
      if (layer.word != word) continue;
      ASSIGN_OR_RETURN(const int error, ParseInt("--jail", text.substr(equals + 1), 0));
      return SandboxLayer{std::string(layer.name), error == 0, WhyMissing(word, error)};
    }
  }
  return InvalidArgument("--jail: {}: unknown", text);
}

Result<std::vector<SandboxLayer>> ParseJail(std::string_view text) {
  std::vector<SandboxLayer> layers;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    ASSIGN_OR_RETURN(SandboxLayer layer, ParseLayer(text.substr(0, comma)));
    layers.push_back(std::move(layer));
    text = comma == text.npos ? std::string_view() : text.substr(comma + 1);
  }
  return layers;
}

Status ParseWord(std::string_view word, VmmOptions& options) {
  const std::size_t equals = word.find('=');
  const std::string_view name = word.substr(0, equals);
  const std::string_view value = equals == word.npos ? "" : word.substr(equals + 1);
  if (name == "--control-fd") {
    ASSIGN_OR_RETURN(options.control_fd, ParseInt(name, value, 3));
  } else if (name == "--listen-fd") {
    ASSIGN_OR_RETURN(options.listen_fd, ParseInt(name, value, 3));
  } else if (name == "--report-fd") {
    ASSIGN_OR_RETURN(options.report_fd, ParseInt(name, value, 3));
  } else if (name == "--sandbox") {
    ASSIGN_OR_RETURN(options.sandbox, ParseSandboxMode(value));
  } else if (name == "--jail") {
    ASSIGN_OR_RETURN(options.jail, ParseJail(value));
  } else {
    return InvalidArgument("{}: unknown option", word);
  }
  return {};
}

}  // namespace

Result<VmmOptions> ParseVmmOptions(std::span<const char* const> words) {
  VmmOptions options;
  options.jail = {{"jail", false, "not started by gemel-jail"}};
  for (const char* word : words) RETURN_IF_ERROR(ParseWord(word, options));
  if ((options.control_fd < 0) == (options.listen_fd < 0))
    return InvalidArgument(
        "either --control-fd or --listen-fd (started by gemel run or gemeld, not by hand)");
  return options;
}

}  // namespace gemel
