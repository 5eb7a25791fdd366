#include "grpc/fence_agent.h"

#include <algorithm>
#include <array>

namespace gemel::daemon {
namespace {

constexpr std::size_t kMostBytes = 1024;
// What has a place of its own.
constexpr std::array<std::string_view, 6> kOwn = {"action", "plug",     "port",
                                                  "passwd", "password", "option"};

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

// A line of its own, whatever is in it.
bool IsValue(std::string_view text) {
  return text.size() <= kMostBytes && std::ranges::none_of(text, [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
         });
}

Status CheckOption(std::string_view node, const std::string& name, const std::string& value) {
  const std::string key = fmt::format("fence_agents.{}.options.{}", node, name);
  if (!IsName(name)) return InvalidArgument("{}: not a name of letters, digits, _ and -", key);
  if (std::ranges::find(kOwn, name) != kOwn.end())
    return InvalidArgument(
        "{}: {}: use plug for the outlet and secret_file for the password; the action is ours", key,
        name);
  if (!IsValue(value))
    return InvalidArgument("{}: not one line of at most {} bytes", key, kMostBytes);
  return {};
}

}  // namespace

Status Validate(std::string_view node, const FenceAgent& agent) {
  const auto key = [&](std::string_view name) {
    return fmt::format("fence_agents.{}.{}", node, name);
  };
  if (!IsName(node)) return InvalidArgument("fence_agents.{}: not a node's name", node);
  if (!agent.agent.starts_with('/'))
    return InvalidArgument("{}: \"{}\": not the absolute path of a program", key("agent"),
                           agent.agent);
  if (!IsValue(agent.agent) || !IsValue(agent.plug))
    return InvalidArgument("{}: not one line of at most {} bytes", key("plug"), kMostBytes);
  if (!agent.secret_file.empty() && !agent.secret_file.starts_with('/'))
    return InvalidArgument("{}: \"{}\": not an absolute path", key("secret_file"),
                           agent.secret_file);
  if (!IsName(agent.user))
    return InvalidArgument("{}: \"{}\": not a user's name", key("user"), agent.user);
  for (const auto& [name, value] : agent.options) RETURN_IF_ERROR(CheckOption(node, name, value));
  return {};
}

std::string FenceInput(const FenceAgent& agent, std::string_view action, std::string_view secret) {
  std::string input = fmt::format("action={}\n", action);
  if (!agent.plug.empty()) input += fmt::format("plug={}\n", agent.plug);
  for (const auto& [name, value] : agent.options) input += fmt::format("{}={}\n", name, value);
  if (!secret.empty()) input += fmt::format("password={}\n", secret);
  return input;
}

std::string_view PowerWord(FencePower power) {
  switch (power) {
    case FencePower::kUnknown:
      return "unknown";
    case FencePower::kOn:
      return "on";
    case FencePower::kOff:
      return "off";
  }
  return "unknown";
}

FencePower PowerOf(int exit_status) {
  if (exit_status == 0) return FencePower::kOn;
  return exit_status == 2 ? FencePower::kOff : FencePower::kUnknown;
}

}  // namespace gemel::daemon
