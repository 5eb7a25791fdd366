// IPv4 addresses and subnets as numbers and as text.
#pragma once
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gemel::hostnet {

struct Ipv4 {
  std::uint32_t value = 0;  // in the host's byte order: 10.0.0.1 is 0x0a000001
  auto operator<=>(const Ipv4&) const = default;
};

// A block of addresses: `base` has no bit set behind the prefix.
struct Subnet {
  Ipv4 base;
  std::uint32_t prefix = 0;  // 0 to 32
  bool operator==(const Subnet&) const = default;

  std::uint32_t mask() const { return prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix); }
  bool Contains(Ipv4 address) const { return (address.value & mask()) == base.value; }
  bool Overlaps(const Subnet& other) const { return Contains(other.base) || other.Contains(base); }
  // The bridge's own address. REQUIRES: prefix <= 30, as of the next two.
  Ipv4 gateway() const { return {base.value + 1}; }
  Ipv4 last_host() const { return {broadcast().value - 1}; }
  Ipv4 broadcast() const { return {base.value | ~mask()}; }
};

// kInvalidArgument names `field` and the text.
Result<Ipv4> ParseIpv4(std::string_view field, std::string_view text);
// "10.88.0.0/24". kInvalidArgument also if bits behind the prefix are set; the message says what was
// probably meant.
Result<Subnet> ParseSubnet(std::string_view field, std::string_view text);

std::string ToText(Ipv4 address);
std::string ToText(const Subnet& subnet);

}  // namespace gemel::hostnet
