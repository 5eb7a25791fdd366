#include "hostnet/rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

namespace gemel::hostnet {
namespace {

using Elements = std::vector<std::string>;

// The host's side: who may go where.
constexpr std::string_view kInetChains = R"(
  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    iifname @bridges goto from_guest
    oifname @bridges goto to_guest
  }
  chain from_guest {
    iifname . oifname @same accept
    oifname @bridges drop
    meta nfproto != ipv4 drop
    iifname . ip saddr != @sources drop
    iifname @nat accept
    drop
  }
  chain to_guest {
    ct state established,related accept
    drop
  }
  chain input {
    type filter hook input priority filter - 10; policy accept;
    iifname @bridges goto to_host
  }
  chain to_host {
    meta nfproto != ipv4 drop
    iifname @dhcp udp sport 68 udp dport 67 accept
    iifname . ip daddr != @hosts drop
    ct state established,related accept
    icmp type echo-request accept
    iifname @dns meta l4proto { tcp, udp } th dport 53 accept
    drop
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr @nat_subnets oifname != @bridges masquerade
  }
)";

// A port's side. 01:80:c2:00:00:00 to 0f: frames of bridges to bridges (IEEE 802.1Q, table 8-1). 0x8035 with
// operation 3: where the address is now (net/announcement.h).
constexpr std::string_view kBridgeChains = R"(
  chain prerouting {
    type filter hook prerouting priority -300; policy accept;
    iifname @guarded goto port
  }
  chain input {
    type filter hook input priority -300; policy accept;
    iifname @guarded ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 drop
  }
  chain port {
    ether type { 8021q, 8021ad } drop
    iifname . ether saddr != @macs drop
    ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 drop
    ether type arp goto arp_frame
    ether type ip goto ip_frame
    ether type 0x8035 @nh,48,16 3 accept
    iifname @pinned drop
    ether type ip6 icmpv6 type nd-router-advert drop
    ether type ip6 udp sport 547 drop
    accept
  }
  chain arp_frame {
    arp htype != 1 drop
    arp ptype != 0x0800 drop
    arp hlen != 6 drop
    arp plen != 4 drop
    iifname . arp saddr ether != @macs drop
    iifname != @pinned accept
    arp saddr ip 0.0.0.0 accept
    iifname . arp saddr ip @addresses accept
    drop
  }
  chain ip_frame {
    udp sport 67 drop
    iifname != @pinned accept
    ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept
    iifname . ip saddr @addresses accept
    drop
  }
)";

std::string Set(std::string_view name, std::string_view type, const Elements& elements,
                bool interval = false) {
  return fmt::format(
      "  set {} {{ type {};{}{} }}\n", name, type, interval ? " flags interval;" : "",
      elements.empty() ? std::string()
                       : fmt::format(" elements = {{ {} }};", fmt::join(elements, ", ")));
}

// Before the chains, which use them.
std::string InetSets(const Names& names, const std::vector<NetworkSpec>& networks) {
  Elements bridges, same, sources, hosts, nat, nat_subnets, dhcp, dns;
  for (const NetworkSpec& network : networks) {
    const ManagedBridge* bridge = network.managed();
    if (bridge == nullptr) continue;
    const std::string name = fmt::format("\"{}\"", names.Bridge(network.uid));
    bridges.push_back(name);
    same.push_back(fmt::format("{0} . {0}", name));
    sources.push_back(fmt::format("{} . {}", name, ToText(bridge->subnet)));
    hosts.push_back(fmt::format("{} . {}", name, ToText(bridge->subnet.gateway())));
    if (bridge->nat) nat.push_back(name);
    if (bridge->nat) nat_subnets.push_back(ToText(bridge->subnet));
    if (bridge->dhcp) dhcp.push_back(name);
    if (bridge->dns) dns.push_back(name);
  }
  return Set("bridges", "ifname", bridges) + Set("same", "ifname . ifname", same) +
         Set("sources", "ifname . ipv4_addr", sources, true) +
         Set("hosts", "ifname . ipv4_addr", hosts) + Set("nat", "ifname", nat) +
         Set("nat_subnets", "ipv4_addr", nat_subnets, true) + Set("dhcp", "ifname", dhcp) +
         Set("dns", "ifname", dns);
}

std::string BridgeSets(const Names& names, const std::vector<NetworkSpec>& networks,
                       const std::vector<PortSpec>& ports) {
  Elements guarded, pinned, macs, addresses;
  for (const PortSpec& port : ports) {
    const auto network = std::ranges::find(networks, port.network, &NetworkSpec::uid);
    if (network != networks.end() && network->allow_spoofing) continue;
    const std::string name = fmt::format("\"{}\"", names.Tap(port.uid));
    guarded.push_back(name);
    macs.push_back(fmt::format("{} . {:02x}", name, fmt::join(port.mac, ":")));
    if (!port.address) continue;
    pinned.push_back(name);
    addresses.push_back(fmt::format("{} . {}", name, ToText(*port.address)));
  }
  return Set("guarded", "ifname", guarded) + Set("pinned", "ifname", pinned) +
         Set("macs", "ifname . ether_addr", macs) +
         Set("addresses", "ifname . ipv4_addr", addresses);
}

}  // namespace

std::string RulesText(const Names& names, const std::vector<NetworkSpec>& networks,
                      const std::vector<PortSpec>& ports) {
  const std::string table = names.Table();
  std::string text;
  // "add" first, as deleting what is not there would fail.
  for (const std::string_view family : {"inet", "bridge"})
    text += fmt::format("add table {0} {1}\ndelete table {0} {1}\n", family, table);
  if (networks.empty()) return text;
  text += fmt::format("table inet {} {{\n{}{}}}\n", table, InetSets(names, networks), kInetChains);
  text += fmt::format("table bridge {} {{\n{}{}}}\n", table, BridgeSets(names, networks, ports),
                      kBridgeChains);
  return text;
}

}  // namespace gemel::hostnet
