// --net's words (vmm/config/net_config.h).
#include <array>
#include <charconv>
#include <optional>

#include "vmm/config/key_list.h"
#include "vmm/config/net_config.h"
#include "vmm/config/parse.h"

namespace gemel {
namespace {

using Kind = NetConfig::Kind;

constexpr std::array<std::string_view, 19> kKeys = {
    "tap",    "macvtap",      "fd",       "socket", "mac",          "mtu",     "queues",
    "vhost",  "rx-rate",      "rx-burst", "rx-pps", "rx-pps-burst", "tx-rate", "tx-burst",
    "tx-pps", "tx-pps-burst", "hostfwd",  "net",    "restrict"};
constexpr std::array<std::string_view, 1> kRepeatable = {"hostfwd"};

Result<VhostMode> ParseVhost(std::string_view text) {
  if (text == "auto") return VhostMode::kAuto;
  if (text == "on") return VhostMode::kOn;
  if (text == "off") return VhostMode::kOff;
  return InvalidArgument("net: vhost: {}: not auto, on or off", text.empty() ? "\"\"" : text);
}

// "3" or "3:4:5".
Result<std::vector<int>> ParseFds(std::string_view text) {
  std::vector<int> fds;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t colon = std::min(text.find(':', at), text.size());
    ASSIGN_OR_RETURN(const std::uint32_t fd,
                     ParseNumber("net: fd", text.substr(at, colon - at), 3, 1u << 20));
    fds.push_back(static_cast<int>(fd));
    at = colon + 1;
  }
  return fds;
}

// "ADDRESS:PORT" or ":PORT"; an empty address leaves `address` as it is.
bool ParseEndpoint(std::string_view text, std::string& address, std::uint16_t& port) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  if (colon > 0) address = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  return error == std::errc() && end == digits.data() + digits.size() && port != 0;
}

// "tcp:[ADDRESS]:PORT-[ADDRESS]:PORT", as QEMU's.
Result<HostForward> ParseForward(std::string_view text) {
  HostForward forward;
  const std::size_t colon = text.find(':');
  const std::size_t dash = text.find('-');
  const std::string_view protocol = text.substr(0, colon);
  forward.udp = protocol == "udp";
  if (colon == std::string_view::npos || dash == std::string_view::npos || dash < colon ||
      (protocol != "tcp" && protocol != "udp") ||
      !ParseEndpoint(text.substr(colon + 1, dash - colon - 1), forward.host_address,
                     forward.host_port) ||
      !ParseEndpoint(text.substr(dash + 1), forward.guest_address, forward.guest_port))
    return InvalidArgument("net: hostfwd: {}: write tcp:127.0.0.1:2222-:22",
                           text.empty() ? "\"\"" : text);
  return forward;
}

// The part that says what the other end is. False: `pair` is another key.
Result<bool> SetEnd(NetConfig& net, const KeyValue& pair) {
  if (pair.key == "tap" || pair.key == "macvtap") {
    net.kind = pair.key == "tap" ? Kind::kTap : Kind::kMacvtap;
    net.name = pair.value;
  } else if (pair.key == "socket") {
    net.kind = Kind::kSocket;
    net.path = pair.value;
  } else if (pair.key == "fd") {
    net.kind = Kind::kFd;
    ASSIGN_OR_RETURN(net.fds, ParseFds(pair.value));
    net.queues = static_cast<std::uint32_t>(net.fds.size());
  } else {
    return false;
  }
  return true;
}

// "rx-rate" … "tx-pps-burst". False: `pair` is another key.
Result<bool> SetLimit(NetConfig& net, const KeyValue& pair) {
  if (!pair.key.starts_with("rx-") && !pair.key.starts_with("tx-")) return false;
  NetLimit& limit = pair.key.starts_with("rx-") ? net.rx : net.tx;
  const std::string_view what = std::string_view(pair.key).substr(3);
  std::uint64_t& value = what == "rate"    ? limit.bytes
                         : what == "burst" ? limit.bytes_burst
                         : what == "pps"   ? limit.packets
                                           : limit.packets_burst;
  ASSIGN_OR_RETURN(value, ParseSize("net: " + pair.key, pair.value));
  if (value == 0) return InvalidArgument("net: {}: 0: leave it out for no limit", pair.key);
  return true;
}

Status SetKey(NetConfig& net, const KeyValue& pair) {
  if (pair.key == "mac") {
    ASSIGN_OR_RETURN(net.mac, ParseMac("net: mac", pair.value));
  } else if (pair.key == "mtu") {
    ASSIGN_OR_RETURN(net.mtu, ParseNumber("net: mtu", pair.value, kMinMtu, kMaxMtu));
  } else if (pair.key == "queues") {
    ASSIGN_OR_RETURN(net.queues, ParseNumber("net: queues", pair.value, 1, kMaxNetQueues));
  } else if (pair.key == "vhost") {
    ASSIGN_OR_RETURN(net.vhost, ParseVhost(pair.value));
  } else if (pair.key == "hostfwd") {
    ASSIGN_OR_RETURN(HostForward forward, ParseForward(pair.value));
    net.user.forwards.push_back(std::move(forward));
  } else if (pair.key == "net") {
    net.user.net = pair.value;
  } else if (pair.key == "restrict") {
    ASSIGN_OR_RETURN(net.user.restricted, ParseOnOff("net: restrict", pair.value));
  }
  return {};
}

Status SetPart(NetConfig& net, const KeyValue& pair, int& ends) {
  if (pair.key.empty()) {
    if (pair.value != "user")
      return InvalidArgument("net: {}: write user, tap=NAME, macvtap=NAME, socket=PATH or fd=N",
                             pair.value);
    ++ends;
    return {};
  }
  ASSIGN_OR_RETURN(const bool is_end, SetEnd(net, pair));
  if (is_end) ++ends;
  if (is_end) return {};
  ASSIGN_OR_RETURN(const bool is_limit, SetLimit(net, pair));
  return is_limit ? Status{} : SetKey(net, pair);
}

}  // namespace

Result<NetConfig> ParseNet(std::string_view text) {
  if (text.empty())
    return InvalidArgument("net: \"\": write user, tap=NAME, macvtap=NAME, socket=PATH or fd=N");
  ASSIGN_OR_RETURN(const std::vector<KeyValue> list, ParseKeyList("net", text, kKeys, kRepeatable));
  NetConfig net;
  int ends = 0;
  for (const KeyValue& pair : list) RETURN_IF_ERROR(SetPart(net, pair, ends));
  if (ends == 0)
    return InvalidArgument("net: {}: user, tap=, macvtap=, socket= or fd= is missing", text);
  if (ends > 1) return InvalidArgument("net: {}: more than one other end", text);
  RETURN_IF_ERROR(Validate(net));
  return net;
}

}  // namespace gemel
