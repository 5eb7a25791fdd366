// Which received frames a guest wants (virtio 1.2, sections 5.1.6.5.1 to 5.1.6.5.3): its own address,
// those in its tables, broadcast, its VLANs. Plain data; copied between threads as a whole.
#pragma once
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/mac_address.h"

namespace gemel::net {

// Addresses beside the guest's own. One too many makes the table let everything of its kind pass.
class MacTable {
 public:
  static constexpr std::size_t kSize = 64;

  void Clear() { count_ = 0, overflow_ = false; }
  void Add(const MacAddress& mac);
  bool Has(const MacAddress& mac) const;

 private:
  std::array<MacAddress, kSize> entries_{};
  std::size_t count_ = 0;
  bool overflow_ = false;
};

struct RxFilter {
  // What a driver that says nothing gets: everything.
  bool promiscuous = true;
  bool all_multicast = false, all_unicast = false;
  bool no_multicast = false, no_unicast = false, no_broadcast = false;
  MacAddress own{};
  MacTable unicast, multicast;
  bool vlan_filtering = false;  // tagged frames pass only if their VLAN is in `vlans`
  std::bitset<4096> vlans;

  // Bytes at a frame's front that Accepts looks at.
  static constexpr std::size_t kFrontBytes = 18;
  // `front`: the frame's first kFrontBytes, or all of it. A frame too short for addresses is not
  // accepted. A promiscuous guest gets other VLANs' frames too, as a sniffer wants.
  bool Accepts(std::span<const std::byte> front) const;
};

}  // namespace gemel::net
