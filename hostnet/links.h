// The interfaces of the network namespace that this thread is in, as far as host networks need them.
// A fake is in tests/fakes/fake_hostnet.h.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/mac_address.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "hostnet/ipv4.h"

namespace gemel::hostnet {

struct Link {
  int index = 0;
  std::string name;
  std::string kind;  // "bridge", "tun", …; empty: hardware
  int bridge = 0;    // index of the interface that it is a port of; 0: none
  bool up = false;
  std::uint32_t mtu = 0;
  MacAddress mac{};
  bool vlan_filtering = false;     // bridges
  std::uint32_t default_vlan = 1;  // bridges: what new ports are in
};

// A subnet that an interface has an address in, or that the host routes through it.
struct Reach {
  int index = 0;
  Subnet subnet;
  Ipv4 address;  // 0: a route
};

struct BridgeWish {
  std::string name;
  MacAddress mac{};
  std::uint32_t mtu = 1500;
};

class Links {
 public:
  virtual ~Links() = default;
  virtual Result<std::vector<Link>> List() = 0;
  // IPv4; without the default route.
  virtual Result<std::vector<Reach>> Addresses() = 0;
  virtual Result<std::vector<Reach>> Routes() = 0;

  // A bridge that forwards at once and takes no part in spanning trees; down. The rest is set later.
  virtual Status MakeBridge(const BridgeWish& wish) = 0;
  // kUnimplemented if this kernel has no VLAN filtering.
  virtual Status SetVlanFiltering(const Link& bridge) = 0;
  virtual Status Remove(const Link& link) = 0;
  // Of `subnet`, on a link that may have it already.
  virtual Status AddAddress(const Link& link, Ipv4 address, const Subnet& subnet) = 0;
  virtual Status SetUp(const Link& link) = 0;
  virtual Status SetMtu(const Link& link, std::uint32_t mtu) = 0;
  virtual Status SetMac(const Link& link, const MacAddress& mac) = 0;
  virtual Status SetBridge(const Link& port, const Link& bridge) = 0;
  // A port's frames are untagged outside of the bridge and in `vlan` within, and in no other.
  virtual Status SetPortVlan(const Link& port, std::uint32_t vlan, std::uint32_t previous) = 0;

  // Makes a tap with so many queues, down; it lasts as long as one of the descriptors (non-blocking,
  // close-on-exec, with virtio headers). kAlreadyExists if there is an interface of this name.
  virtual Result<std::vector<UniqueFd>> MakeTap(const std::string& name, std::uint32_t queues) = 0;
};

}  // namespace gemel::hostnet
