#include "vmm/config/channel_config.h"

#include <algorithm>
#include <array>

#include "vmm/config/key_list.h"
#include "vmm/config/net_config.h"
#include "vmm/config/parse.h"

namespace gemel {
namespace {

// "_4294967295", which is put behind a vsock's path.
constexpr std::size_t kPortSuffixBytes = 11;

Status CheckSocketPath(std::string_view argument, const std::string& path, std::size_t most) {
  if (path.empty()) return InvalidArgument("{}: path=SOCKET is missing", argument);
  if (path.find('\0') != std::string::npos)
    return InvalidArgument("{}: a path with a zero byte", argument);
  if (path.size() > most)
    return InvalidArgument("{}: path={}: {} bytes: at most {} fit in a socket's address", argument,
                           path, path.size(), most);
  return {};
}

bool IsChannelName(const std::string& name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  };
  // The guest makes a file of it.
  return !name.empty() && name.size() <= 63 && name[0] != '.' && std::ranges::all_of(name, fits);
}

}  // namespace

Result<VsockConfig> ParseVsock(std::string_view text) {
  static constexpr std::array<std::string_view, 2> kKeys = {"cid", "path"};
  if (text.empty()) return InvalidArgument("vsock: \"\": write path=SOCKET");
  ASSIGN_OR_RETURN(const std::vector<KeyValue> list, ParseKeyList("vsock", text, kKeys));
  VsockConfig vsock;
  for (const KeyValue& pair : list) {
    if (pair.key.empty())
      return InvalidArgument("vsock: {}: not KEY=VALUE; did you mean path={}?", pair.value,
                             pair.value);
    if (pair.key == "path") vsock.path = pair.value;
    if (pair.key == "cid") {
      ASSIGN_OR_RETURN(vsock.cid, ParseNumber("vsock: cid", pair.value, 3, 0xffff'fffe));
    }
  }
  return vsock;
}

Status ValidateVsock(const VsockConfig& vsock) {
  if (vsock.cid < 3 || vsock.cid == 0xffff'ffff)
    return InvalidArgument("vsock: cid={}: not from 3 to 4294967294", vsock.cid);
  return CheckSocketPath("vsock", vsock.path, kMaxSocketBytes - kPortSuffixBytes);
}

Result<ConsoleConfig> ParseConsole(std::string_view text) {
  using Kind = ConsoleConfig::Kind;
  constexpr std::string_view kUnix = "unix:";
  if (text == "none") return ConsoleConfig{};
  if (text == "stdio") return ConsoleConfig{Kind::kStdio, ""};
  if (text.starts_with(kUnix) && text.size() > kUnix.size())
    return ConsoleConfig{Kind::kUnix, std::string(text.substr(kUnix.size()))};
  return InvalidArgument("console: {}: unknown; there is stdio, unix:PATH or none",
                         text.empty() ? "\"\"" : text);
}

Status ValidateConsole(const ConsoleConfig& console) {
  if (console.kind == ConsoleConfig::Kind::kUnix)
    return CheckSocketPath("console", console.path, kMaxSocketBytes);
  if (!console.path.empty())
    return InvalidArgument("console: {}: only unix has a path", console.path);
  return {};
}

Result<ChannelConfig> ParseChannel(std::string_view text) {
  static constexpr std::array<std::string_view, 2> kKeys = {"name", "path"};
  if (text.empty()) return InvalidArgument("channel: \"\": write name=NAME,path=SOCKET");
  ASSIGN_OR_RETURN(const std::vector<KeyValue> list, ParseKeyList("channel", text, kKeys));
  ChannelConfig channel;
  for (const KeyValue& pair : list) {
    if (pair.key.empty())
      return InvalidArgument("channel: {}: not KEY=VALUE; write name=NAME,path=SOCKET", pair.value);
    (pair.key == "name" ? channel.name : channel.path) = pair.value;
  }
  return channel;
}

Status ValidateChannels(const std::vector<ChannelConfig>& channels) {
  if (channels.size() > kMaxChannels)
    return InvalidArgument("channel: {} channels: more than {}", channels.size(), kMaxChannels);
  for (auto at = channels.begin(); at != channels.end(); ++at) {
    if (!IsChannelName(at->name))
      return InvalidArgument(
          "channel: name={}: not 1 to 63 of A-Z, a-z, 0-9, '.', '-' and '_', beginning with no '.'",
          at->name);
    RETURN_IF_ERROR(
        CheckSocketPath(fmt::format("channel: {}", at->name), at->path, kMaxSocketBytes));
    for (auto other = channels.begin(); other != at; ++other) {
      if (other->name == at->name)
        return InvalidArgument("channel: name={}: given twice", at->name);
      if (other->path == at->path)
        return InvalidArgument("channel: path={}: given twice", at->path);
    }
  }
  return {};
}

}  // namespace gemel
