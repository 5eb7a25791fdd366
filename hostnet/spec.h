// What a host network and a port of it are to be: plain data, and whether it makes sense. Field names
// in errors are those of gemel.v1.Network and gemel.v1.NetworkInterface.
#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <variant>

#include "base/mac_address.h"
#include "base/result.h"
#include "hostnet/ipv4.h"

namespace gemel::hostnet {

// A bridge of ours. IPv4 alone: IPv6 is dropped at its ports.
struct ManagedBridge {
  Subnet subnet;     // its first address is the bridge's
  bool nat = false;  // out of the host, by masquerading; else nothing leaves the host
  bool dhcp = false;
  Ipv4 dhcp_first;     // 0: the second address
  Ipv4 dhcp_last;      // 0: the last one
  bool dns = false;    // names of machines, and what the host resolves
  std::string domain;  // empty: none
  std::uint32_t mtu = 1500;

  Ipv4 first() const { return dhcp_first.value != 0 ? dhcp_first : Ipv4{subnet.base.value + 2}; }
  Ipv4 last() const { return dhcp_last.value != 0 ? dhcp_last : subnet.last_host(); }
  bool operator==(const ManagedBridge&) const = default;
};

// A bridge that the administrator made. Ports come and go; nothing else of it is touched.
struct HostBridge {
  std::string interface;
  bool operator==(const HostBridge&) const = default;
};

struct NetworkSpec {
  std::string uid;  // never reused; names of interfaces come of it
  std::variant<ManagedBridge, HostBridge> kind;
  bool allow_spoofing = false;

  const ManagedBridge* managed() const { return std::get_if<ManagedBridge>(&kind); }
  const HostBridge* host() const { return std::get_if<HostBridge>(&kind); }
  bool operator==(const NetworkSpec&) const = default;
};

// One NIC of one machine.
struct PortSpec {
  std::string uid;      // such as "<uid of the machine>/0"; the tap's name comes of it
  std::string network;  // uid of its network
  MacAddress mac{};
  // The only one it may send from. Needed on a managed bridge, unless spoofing is allowed there or
  // the port has a tag (PlanAddress); on a bridge of the host, empty: not looked at.
  std::optional<Ipv4> address;
  std::string hostname;    // what DHCP tells it and DNS calls it; empty: nothing
  std::uint32_t vlan = 0;  // 0: untagged
  std::uint32_t queues = 1;
  bool operator==(const PortSpec&) const = default;
};

// Pure and total. kInvalidArgument names field and value.
Status Validate(const NetworkSpec& network);
// Whether the port fits its network.
Status Validate(const PortSpec& port, const NetworkSpec& network);

// The address for one more port: `wanted` if it may have it, else the lowest free one of the DHCP
// range. kInvalidArgument, kAlreadyExists: why not `wanted`; kResourceExhausted: all are taken.
Result<Ipv4> PlanAddress(const ManagedBridge& bridge, const std::set<Ipv4>& taken,
                         std::optional<Ipv4> wanted);

}  // namespace gemel::hostnet
