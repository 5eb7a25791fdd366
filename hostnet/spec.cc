#include "hostnet/spec.h"

#include <net/if.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace gemel::hostnet {
namespace {

constexpr std::uint32_t kSmallestMtu = 576;  // RFC 791: what every host must take
constexpr std::uint32_t kLargestMtu = 65521;
constexpr std::uint32_t kMostQueues = 16;
constexpr std::uint32_t kLastVlan = 4094;  // IEEE 802.1Q, table 9-2: 4095 is reserved
constexpr std::size_t kLongestLabel = 63;  // RFC 1035, section 2.3.4
constexpr std::size_t kLongestName = 253;

// RFC 1123, section 2.1, in lower case.
bool IsLabel(std::string_view text) {
  return !text.empty() && text.size() <= kLongestLabel && text.front() != '-' &&
         text.back() != '-' && std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

bool IsDomain(std::string_view text) {
  if (text.empty() || text.size() > kLongestName) return false;
  while (true) {
    const std::size_t dot = text.find('.');
    if (!IsLabel(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

Status ValidateSubnet(const Subnet& subnet) {
  constexpr std::string_view kField = "managed_bridge.subnet";
  if (subnet.prefix < 8 || subnet.prefix > 30)
    return InvalidArgument("{} \"{}\": a prefix must be 8 to 30 bits", kField, ToText(subnet));
  // RFC 6890: "this network", loopback, link-local; multicast and what is behind it.
  constexpr std::array kReserved = {Subnet{{0}, 8}, Subnet{{0x7f000000}, 8},
                                    Subnet{{0xa9fe0000}, 16}, Subnet{{0xe0000000}, 3}};
  for (const Subnet& reserved : kReserved)
    if (reserved.Overlaps(subnet))
      return InvalidArgument("{} \"{}\": no host may have addresses of {}", kField, ToText(subnet),
                             ToText(reserved));
  return {};
}

bool MayBeAHost(const Subnet& subnet, Ipv4 address) {
  return subnet.Contains(address) && address > subnet.gateway() && address <= subnet.last_host();
}

Status ValidateManaged(const ManagedBridge& bridge) {
  RETURN_IF_ERROR(ValidateSubnet(bridge.subnet));
  for (const auto& [field, address] : {std::pair{"managed_bridge.dhcp_first", bridge.first()},
                                       std::pair{"managed_bridge.dhcp_last", bridge.last()}})
    if (!MayBeAHost(bridge.subnet, address))
      return InvalidArgument("{} \"{}\": not one of {} to {}", field, ToText(address),
                             ToText(Ipv4{bridge.subnet.base.value + 2}),
                             ToText(bridge.subnet.last_host()));
  if (bridge.first() > bridge.last())
    return InvalidArgument("managed_bridge.dhcp_last \"{}\": before dhcp_first, {}",
                           ToText(bridge.last()), ToText(bridge.first()));
  if (!bridge.domain.empty() && !IsDomain(bridge.domain))
    return InvalidArgument("managed_bridge.domain \"{}\": not a domain of a-z, 0-9, - and dots",
                           bridge.domain);
  if (bridge.mtu < kSmallestMtu || bridge.mtu > kLargestMtu)
    return InvalidArgument("managed_bridge.mtu {}: must be {} to {}", bridge.mtu, kSmallestMtu,
                           kLargestMtu);
  return {};
}

}  // namespace

Status Validate(const NetworkSpec& network) {
  if (network.uid.empty()) return InvalidArgument("uid \"\": a network needs one");
  if (const ManagedBridge* bridge = network.managed()) return ValidateManaged(*bridge);
  const std::string& name = network.host()->interface;
  const bool good =
      !name.empty() && name.size() < IFNAMSIZ && name != "." && name != ".." &&
      std::ranges::all_of(
          name, [](char c) { return c > ' ' && c < 0x7f && c != '/' && c != '"' && c != ':'; });
  if (good) return {};
  return InvalidArgument("host_bridge.interface \"{}\": not the name of an interface", name);
}

Status Validate(const PortSpec& port, const NetworkSpec& network) {
  if (port.uid.empty()) return InvalidArgument("uid \"\": a port needs one");
  if (IsMulticast(port.mac) || port.mac == MacAddress{})
    return InvalidArgument("mac_address \"{:02x}\": not the address of one card",
                           fmt::join(port.mac, ":"));
  if (port.vlan > kLastVlan)
    return InvalidArgument("vlan {}: must be 1 to {}, or 0 for none", port.vlan, kLastVlan);
  if (port.queues == 0 || port.queues > kMostQueues)
    return InvalidArgument("queues {}: must be 1 to {}", port.queues, kMostQueues);
  if (!port.hostname.empty() && !IsLabel(port.hostname))
    return InvalidArgument("hostname \"{}\": must be a-z, 0-9 and -, at most {} of them",
                           port.hostname, kLongestLabel);
  const ManagedBridge* bridge = network.managed();
  if (bridge == nullptr) return {};
  if (port.address && !MayBeAHost(bridge->subnet, *port.address))
    return InvalidArgument("ip_address \"{}\": not a machine's in {}", ToText(*port.address),
                           ToText(bridge->subnet));
  if (!port.address && !network.allow_spoofing && port.vlan == 0)
    return InvalidArgument("ip_address \"\": a port of a managed network needs one");
  return {};
}

Result<Ipv4> PlanAddress(const ManagedBridge& bridge, const std::set<Ipv4>& taken,
                         std::optional<Ipv4> wanted) {
  if (wanted) {
    if (!MayBeAHost(bridge.subnet, *wanted))
      return InvalidArgument("ip_address \"{}\": must be one of {} to {}", ToText(*wanted),
                             ToText(Ipv4{bridge.subnet.base.value + 2}),
                             ToText(bridge.subnet.last_host()));
    if (taken.contains(*wanted))
      return MakeError(Code::kAlreadyExists,
                       fmt::format("ip_address \"{}\": another machine has it", ToText(*wanted)));
    return *wanted;
  }
  // At most one step for each address taken, however large the range is.
  for (Ipv4 address = bridge.first(); address <= bridge.last(); ++address.value)
    if (!taken.contains(address)) return address;
  return MakeError(Code::kResourceExhausted,
                   fmt::format("all addresses from {} to {} are taken", ToText(bridge.first()),
                               ToText(bridge.last())));
}

}  // namespace gemel::hostnet
