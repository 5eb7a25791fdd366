#include "hostnet/dnsmasq_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <sstream>

namespace gemel::hostnet {
namespace {

bool Listed(const PortSpec& port, const NetworkSpec& network) {
  return port.network == network.uid && port.vlan == 0 && port.address.has_value();
}

std::string DhcpText(const NetworkSpec& network, const DnsmasqFiles& files) {
  const ManagedBridge& bridge = *network.managed();
  const std::string mask = ToText(Ipv4{bridge.subnet.mask()});
  std::string text =
      fmt::format("dhcp-authoritative\nno-ping\ndhcp-leasefile={}\ndhcp-hostsfile={}\n",
                  files.leases(), files.hosts());
  if (network.allow_spoofing)
    text += fmt::format("dhcp-range={},{},{},1h\n", ToText(bridge.first()), ToText(bridge.last()),
                        mask);
  else
    text += fmt::format("dhcp-range={},static,{},1h\n", ToText(bridge.subnet.base), mask);
  // An empty option is not sent: nothing behind this bridge is a way out.
  if (!bridge.nat) text += "dhcp-option=option:router\n";
  if (bridge.mtu != 1500) text += fmt::format("dhcp-option=option:mtu,{}\n", bridge.mtu);
  return text;
}

std::string DnsText(const ManagedBridge& bridge, const DnsmasqFiles& files) {
  std::string text = fmt::format(
      "no-hosts\naddn-hosts={}\ncache-size=1000\ndomain-needed\nbogus-priv\n", files.names());
  if (!bridge.domain.empty()) text += fmt::format("local=/{}/\n", bridge.domain);
  return text;
}

}  // namespace

std::string DnsmasqConfigText(const NetworkSpec& network, const std::string& bridge_name,
                              int bridge_index, const DnsmasqFiles& files) {
  const ManagedBridge& bridge = *network.managed();
  std::string text = fmt::format(
      "# Written by gemeld, for interface {} with index {}.\n"
      "interface={}\nexcept-interface=lo\nlisten-address={}\nbind-interfaces\npid-file=\n",
      bridge_name, bridge_index, bridge_name, ToText(bridge.subnet.gateway()));
  if (!bridge.domain.empty()) text += fmt::format("domain={}\n", bridge.domain);
  text += bridge.dns ? DnsText(bridge, files) : "port=0\n";
  if (bridge.dhcp) text += DhcpText(network, files);
  return text;
}

std::string DhcpHostsText(const NetworkSpec& network, const std::vector<PortSpec>& ports,
                          const std::vector<Lease>& leases) {
  const auto in_use = [&](const MacAddress& mac) {
    return std::ranges::any_of(
        ports, [&](const PortSpec& port) { return Listed(port, network) && port.mac == mac; });
  };
  std::string text;
  for (const PortSpec& port : ports) {
    if (!Listed(port, network)) continue;
    std::string macs = fmt::format("{:02x}", fmt::join(port.mac, ":"));
    for (const Lease& lease : leases)
      if (lease.address == *port.address && !in_use(lease.mac))
        macs += fmt::format(",{:02x}", fmt::join(lease.mac, ":"));
    text += fmt::format("{},{}{}{}\n", macs, ToText(*port.address),
                        port.hostname.empty() ? "" : ",", port.hostname);
  }
  return text;
}

std::string NamesText(const NetworkSpec& network, const std::vector<PortSpec>& ports) {
  const std::string& domain = network.managed()->domain;
  std::string text;
  for (const PortSpec& port : ports) {
    if (!Listed(port, network) || port.hostname.empty()) continue;
    text += fmt::format("{} ", ToText(*port.address));
    if (!domain.empty()) text += fmt::format("{}.{} ", port.hostname, domain);
    text += port.hostname + "\n";
  }
  return text;
}

std::vector<Lease> ParseLeases(std::string_view text) {
  std::vector<Lease> leases;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    Lease lease;
    std::string mac, address;
    if (!(words >> lease.expires >> mac >> address >> lease.hostname)) continue;
    auto& m = lease.mac;
    // NOLINTNEXTLINE(cert-err34-c): %2hhx takes two digits, so nothing can overflow.
    const int read = std::sscanf(mac.c_str(), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &m[0], &m[1],
                                 &m[2], &m[3], &m[4], &m[5]);
    const auto ip = ParseIpv4("lease", address);
    if (read != 6 || mac.size() != 17 || !ip) continue;
    lease.address = *ip;
    if (lease.hostname == "*") lease.hostname.clear();
    leases.push_back(std::move(lease));
  }
  return leases;
}

}  // namespace gemel::hostnet
