#include "grpc/convert_network.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>

#include "grpc/resource_name.h"

namespace gemel::daemon {
namespace {

// "managed_bridge.subnet" of "managed_bridge.subnet "10.0.0.0/99": …": hostnet names its fields as
// the API does.
ApiError NetworkFieldError(const Error& error, std::string_view prefix) {
  if (error.code != Code::kInvalidArgument) return FromError(error, reason::kHostRefused);
  const std::string_view message = error.message;
  const std::string_view field = message.substr(0, message.find(' '));
  return InvalidField(fmt::format("{}.{}", prefix, field), message);
}

std::string DefaultDomain(const std::string& name) {
  const std::string project = ProjectOf(name);
  return fmt::format("{}.{}.gemel", LastPart(name), LastPart(project));
}

Status ReadAddress(std::string_view field, const std::string& text, hostnet::Ipv4* address) {
  if (text.empty()) return {};
  ASSIGN_OR_RETURN(*address, hostnet::ParseIpv4(field, text));
  return {};
}

Result<hostnet::ManagedBridge> ToManaged(const v1::ManagedBridge& from, const std::string& name) {
  hostnet::ManagedBridge bridge;
  ASSIGN_OR_RETURN(bridge.subnet, hostnet::ParseSubnet("managed_bridge.subnet", from.subnet()));
  RETURN_IF_ERROR(ReadAddress("managed_bridge.dhcp_first", from.dhcp_first(), &bridge.dhcp_first));
  RETURN_IF_ERROR(ReadAddress("managed_bridge.dhcp_last", from.dhcp_last(), &bridge.dhcp_last));
  bridge.nat = from.nat();
  bridge.dhcp = from.dhcp();
  bridge.dns = from.dns();
  bridge.domain = from.domain().empty() ? DefaultDomain(name) : from.domain();
  if (from.mtu() != 0) bridge.mtu = from.mtu();
  return bridge;
}

}  // namespace

ApiResult<hostnet::NetworkSpec> ToNetworkSpec(const v1::Network& network, std::string_view prefix) {
  hostnet::NetworkSpec spec;
  spec.uid = network.uid();
  spec.allow_spoofing = network.allow_spoofing();
  if (network.has_managed_bridge()) {
    auto bridge = ToManaged(network.managed_bridge(), network.name());
    if (!bridge) return std::unexpected(NetworkFieldError(bridge.error(), prefix));
    spec.kind = *bridge;
  } else if (network.has_host_bridge()) {
    spec.kind = hostnet::HostBridge{network.host_bridge().interface()};
  } else {
    return std::unexpected(
        InvalidField(fmt::format("{}.kind", prefix), "none: say managed_bridge or host_bridge"));
  }
  if (const auto valid = hostnet::Validate(spec); !valid)
    return std::unexpected(NetworkFieldError(valid.error(), prefix));
  return spec;
}

v1::Lease ToLease(const hostnet::Lease& from) {
  v1::Lease lease;
  lease.set_mac_address(fmt::format("{:02x}", fmt::join(from.mac, ":")));
  lease.set_ip_address(hostnet::ToText(from.address));
  lease.set_hostname(Printable(from.hostname));
  if (from.expires != 0) lease.mutable_expire_time()->set_seconds(from.expires);
  return lease;
}

}  // namespace gemel::daemon
