#include "vmm/config/net_config.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "vmm/config/stable_hash.h"

namespace gemel {
namespace {

constexpr std::size_t kMaxInterfaceBytes = 15;  // IFNAMSIZ less the zero
constexpr std::size_t kMaxForwards = 64;
constexpr std::uint32_t kMaxUserMtu = 65521;  // libslirp's

Status ValidateInterface(std::string_view key, const std::string& name) {
  // What the kernel takes for a name (dev_valid_name), less '%', which it would number.
  const auto fits = [](char c) { return c > ' ' && c != '/' && c != ':' && c != '%' && c < 0x7f; };
  if (!name.empty() && name.size() <= kMaxInterfaceBytes && name != "." && name != ".." &&
      std::ranges::all_of(name, fits))
    return {};
  return InvalidArgument("net: {}={}: not an interface's name", key, name);
}

Status ValidateEnd(const NetConfig& net) {
  using Kind = NetConfig::Kind;
  switch (net.kind) {
    case Kind::kUser:
      return {};
    case Kind::kTap:
      return ValidateInterface("tap", net.name);
    case Kind::kMacvtap:
      return ValidateInterface("macvtap", net.name);
    case Kind::kFd:
      if (net.fds.size() != net.queues)
        return InvalidArgument("net: fd: {} descriptors for {} queues", net.fds.size(), net.queues);
      if (!std::ranges::all_of(net.fds, [](int fd) { return fd >= 3; }))
        return InvalidArgument("net: fd: not descriptors from 3");
      return {};
    case Kind::kSocket:
      if (net.path.empty() || net.path.size() > kMaxSocketBytes ||
          net.path.find('\0') != std::string::npos)
        return InvalidArgument("net: socket={}: not a path of 1 to {} bytes", net.path,
                               kMaxSocketBytes);
      return {};
  }
  return InvalidArgument("net: unknown kind");
}

bool IsIpv4(const std::string& text) {
  in_addr address{};
  return inet_pton(AF_INET, text.c_str(), &address) == 1;
}

Status ValidateForward(const HostForward& forward) {
  if (!IsIpv4(forward.host_address))
    return InvalidArgument("net: hostfwd: {}: not an IPv4 address", forward.host_address);
  if (!forward.guest_address.empty() && !IsIpv4(forward.guest_address))
    return InvalidArgument("net: hostfwd: {}: not an IPv4 address", forward.guest_address);
  if (forward.host_port == 0 || forward.guest_port == 0)
    return InvalidArgument("net: hostfwd: 0: not a port from 1 to 65535");
  return {};
}

Status ValidateUserNet(const std::string& net) {
  const std::size_t slash = net.find('/');
  in_addr address{};
  unsigned prefix = 0;
  if (slash != std::string::npos &&
      inet_pton(AF_INET, net.substr(0, slash).c_str(), &address) == 1) {
    const char* const end = net.data() + net.size();
    const auto parsed = std::from_chars(net.data() + slash + 1, end, prefix);
    const std::uint32_t host_bits =
        prefix >= 8 && prefix <= 28 ? 0xffffffffu >> prefix : 0xffffffffu;
    if (parsed.ec == std::errc() && parsed.ptr == end && prefix >= 8 && prefix <= 28 &&
        (ntohl(address.s_addr) & host_bits) == 0)
      return {};
  }
  return InvalidArgument("net: net={}: not a network as 10.0.2.0/24, with 8 to 28 bits of prefix",
                         net);
}

Status ValidateUser(const NetConfig& net) {
  if (net.kind != NetConfig::Kind::kUser) {
    if (net.user == UserNetConfig{}) return {};
    return InvalidArgument("net: hostfwd, net and restrict belong to --net user");
  }
  if (net.mtu > kMaxUserMtu)
    return InvalidArgument("net: mtu={}: user networks have {} at most", net.mtu, kMaxUserMtu);
  if (net.user.forwards.size() > kMaxForwards)
    return InvalidArgument("net: hostfwd: {}: more than {}", net.user.forwards.size(),
                           kMaxForwards);
  for (const HostForward& forward : net.user.forwards) RETURN_IF_ERROR(ValidateForward(forward));
  return ValidateUserNet(net.user.net);
}

bool IsPacketKind(NetConfig::Kind kind) {
  return kind == NetConfig::Kind::kUser || kind == NetConfig::Kind::kSocket;
}

Status ValidateLimit(std::string_view direction, const NetLimit& limit) {
  if (limit.bytes == 0 && limit.bytes_burst != 0)
    return InvalidArgument("net: {}-burst: without {}-rate", direction, direction);
  if (limit.packets == 0 && limit.packets_burst != 0)
    return InvalidArgument("net: {}-pps-burst: without {}-pps", direction, direction);
  // Keeps products with nanoseconds within 128 bits, and is beyond every link.
  constexpr std::uint64_t kMost = 1ull << 48;
  if (std::max({limit.bytes, limit.bytes_burst, limit.packets, limit.packets_burst}) > kMost)
    return InvalidArgument("net: {} limit: more than {}", direction, kMost);
  return {};
}

}  // namespace

Status Validate(const NetConfig& net) {
  if (net.queues < 1 || net.queues > kMaxNetQueues)
    return InvalidArgument("net: queues={}: not from 1 to {}", net.queues, kMaxNetQueues);
  if (net.queues > 1 && IsPacketKind(net.kind))
    return InvalidArgument("net: queues={}: user and socket have one queue", net.queues);
  if (net.mtu != 0 && (net.mtu < kMinMtu || net.mtu > kMaxMtu))
    return InvalidArgument("net: mtu={}: not from {} to {}", net.mtu, kMinMtu, kMaxMtu);
  if (net.mac && (IsMulticast(*net.mac) || *net.mac == MacAddress{}))
    return InvalidArgument("net: mac={}: not a unicast address", FormatMac(*net.mac));
  if (net.vhost == VhostMode::kOn && IsPacketKind(net.kind))
    return InvalidArgument("net: vhost=on: only taps have it");
  RETURN_IF_ERROR(ValidateEnd(net));
  RETURN_IF_ERROR(ValidateLimit("rx", net.rx));
  RETURN_IF_ERROR(ValidateLimit("tx", net.tx));
  if (net.vhost == VhostMode::kOn && (net.rx != NetLimit{} || net.tx != NetLimit{}))
    return InvalidArgument("net: vhost=on: rates are limited in this process, not by the kernel");
  return ValidateUser(net);
}

Result<MacAddress> ParseMac(std::string_view argument, std::string_view text) {
  MacAddress mac{};
  bool good = text.size() == 17;
  for (std::size_t i = 0; good && i < mac.size(); ++i) {
    const char* const at = text.data() + 3 * i;
    const auto [end, error] = std::from_chars(at, at + 2, mac[i], 16);
    good = error == std::errc() && end == at + 2 && (i + 1 == mac.size() || *end == ':');
  }
  if (!good)
    return InvalidArgument("{}: {}: not an address as 02:00:00:00:00:01", argument,
                           text.empty() ? "\"\"" : text);
  if (IsMulticast(mac) || mac == MacAddress{})
    return InvalidArgument("{}: {}: not a unicast address", argument, text);
  return mac;
}

std::string FormatMac(const MacAddress& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3],
                     mac[4], mac[5]);
}

MacAddress DeriveMac(std::string_view identity, std::uint32_t index) {
  const std::uint64_t hash = Mixed(Hash(Hash(kHashStart, identity), fmt::format("/net{}", index)));
  MacAddress mac{};
  for (std::size_t i = 0; i < mac.size(); ++i) mac[i] = static_cast<std::uint8_t>(hash >> (8 * i));
  mac[0] = static_cast<std::uint8_t>((mac[0] & 0xfc) | 0x02);
  return mac;
}

}  // namespace gemel
