#include "net/rx_filter.h"

#include <algorithm>
#include <cstring>

namespace gemel::net {
namespace {

constexpr MacAddress kBroadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr std::size_t kAddressBytes = 12;  // destination and source
constexpr std::size_t kTagEnd = 16;        // type 0x8100, then priority and VLAN

unsigned Big16(std::span<const std::byte> bytes, std::size_t at) {
  return std::to_integer<unsigned>(bytes[at]) << 8 | std::to_integer<unsigned>(bytes[at + 1]);
}

}  // namespace

void MacTable::Add(const MacAddress& mac) {
  if (count_ == kSize) {
    overflow_ = true;
  } else {
    entries_[count_++] = mac;
  }
}

bool MacTable::Has(const MacAddress& mac) const {
  if (overflow_) return true;
  const auto end = entries_.begin() + static_cast<std::ptrdiff_t>(count_);
  return std::find(entries_.begin(), end, mac) != end;
}

bool RxFilter::Accepts(std::span<const std::byte> front) const {
  if (front.size() < kAddressBytes + 2) return false;
  if (promiscuous) return true;
  // VLAN 0 is a priority, not a network (802.1Q, 9.6).
  if (vlan_filtering && Big16(front, kAddressBytes) == 0x8100 && front.size() >= kTagEnd) {
    const unsigned vlan = Big16(front, kAddressBytes + 2) & 0xfff;
    if (vlan != 0 && !vlans[vlan]) return false;
  }
  MacAddress to;
  std::memcpy(to.data(), front.data(), to.size());
  if (to == kBroadcast) return !no_broadcast;
  if (IsMulticast(to)) return !no_multicast && (all_multicast || multicast.Has(to));
  return !no_unicast && (all_unicast || to == own || unicast.Has(to));
}

}  // namespace gemel::net
