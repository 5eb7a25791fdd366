#include "grpc/cluster_networks.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "grpc/convert_network.h"
#include "vmm/config/net_config.h"

namespace gemel::daemon {
namespace {

constexpr std::string_view kChanges = "it is being made, or going";

std::string_view OrBridge(const std::string& subnet) {
  return subnet.empty() ? "a bridge of the host" : std::string_view(subnet);
}

// Why a card cannot be in that network; without its name.
std::string Obstacle(const v1::NetworkInterface& nic, const etcd::NodeNetwork& network) {
  if (!network.trouble.empty()) return network.trouble;
  const Result<hostnet::NetworkSpec> spec = ToNetworkSpec(network);
  if (!spec) return spec.error().message;
  hostnet::PortSpec port;
  port.uid = "0";
  port.vlan = nic.vlan();
  const Result<MacAddress> mac = ParseMac("mac_address", nic.mac_address());
  if (!mac) return mac.error().message;
  port.mac = *mac;
  if (!nic.ip_address().empty()) {
    const Result<hostnet::Ipv4> address = hostnet::ParseIpv4("ip_address", nic.ip_address());
    if (!address) return address.error().message;
    port.address = *address;
    if (nic.vlan() == 0 && std::ranges::binary_search(network.taken, address->value))
      return fmt::format("ip_address \"{}\": a machine of the node's own has it", nic.ip_address());
  }
  const Status valid = hostnet::Validate(port, *spec);
  return valid ? "" : valid.error().message;
}

}  // namespace

etcd::NodeNetwork DescribeNetwork(const v1::Network& network,
                                  const std::set<std::uint32_t>& taken) {
  etcd::NodeNetwork described;
  described.name = network.name();
  described.subnet = network.managed_bridge().subnet();
  described.dhcp_first = network.managed_bridge().dhcp_first();
  described.dhcp_last = network.managed_bridge().dhcp_last();
  described.allow_spoofing = network.allow_spoofing();
  if (!IsThere(network))
    described.trouble = kChanges;
  else if (!network.message().empty())
    described.trouble = "it does not work there: " + network.message();
  if (!described.subnet.empty()) described.taken.assign(taken.begin(), taken.end());
  return described;
}

Result<hostnet::NetworkSpec> ToNetworkSpec(const etcd::NodeNetwork& network) {
  hostnet::NetworkSpec spec;
  spec.uid = network.name;
  spec.allow_spoofing = network.allow_spoofing;
  if (network.subnet.empty()) {
    spec.kind = hostnet::HostBridge{"bridge"};
    return spec;
  }
  hostnet::ManagedBridge bridge;
  ASSIGN_OR_RETURN(bridge.subnet, hostnet::ParseSubnet("managed_bridge.subnet", network.subnet));
  if (!network.dhcp_first.empty()) {
    ASSIGN_OR_RETURN(bridge.dhcp_first,
                     hostnet::ParseIpv4("managed_bridge.dhcp_first", network.dhcp_first));
  }
  if (!network.dhcp_last.empty()) {
    ASSIGN_OR_RETURN(bridge.dhcp_last,
                     hostnet::ParseIpv4("managed_bridge.dhcp_last", network.dhcp_last));
  }
  spec.kind = bridge;
  RETURN_IF_ERROR(hostnet::Validate(spec));
  return spec;
}

std::string NetworkObstacle(const v1::VirtualMachineSpec& spec,
                            std::span<const etcd::NodeNetwork> networks) {
  for (int i = 0; i < spec.nics_size(); ++i) {
    const v1::NetworkInterface& nic = spec.nics(i);
    if (nic.network().empty()) continue;
    const auto found = std::ranges::find(networks, nic.network(), &etcd::NodeNetwork::name);
    const std::string why =
        found == networks.end() ? "there is no such network" : Obstacle(nic, *found);
    if (!why.empty()) return fmt::format("spec.nics[{}].network \"{}\": {}", i, nic.network(), why);
  }
  return "";
}

bool NetworksChange(const v1::VirtualMachineSpec& spec,
                    std::span<const etcd::NodeNetwork> networks) {
  return std::ranges::any_of(networks, [&](const etcd::NodeNetwork& network) {
    return network.trouble == kChanges &&
           std::ranges::any_of(spec.nics(), [&](const v1::NetworkInterface& nic) {
             return nic.network() == network.name;
           });
  });
}

std::string NetworkDifference(const etcd::NodeNetwork& one, const etcd::NodeNetwork& other) {
  if (one.subnet != other.subnet)
    return fmt::format("{}, not {}", OrBridge(other.subnet), OrBridge(one.subnet));
  if (one.allow_spoofing != other.allow_spoofing)
    return fmt::format("allow_spoofing {}, not {}", other.allow_spoofing, one.allow_spoofing);
  return "";
}

}  // namespace gemel::daemon
