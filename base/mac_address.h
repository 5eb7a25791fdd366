// An Ethernet address: six bytes in the order they travel in.
#pragma once
#include <array>
#include <cstdint>

namespace gemel {

using MacAddress = std::array<std::uint8_t, 6>;

// Group addresses, broadcast among them (IEEE 802, the I/G bit).
constexpr bool IsMulticast(const MacAddress& mac) { return (mac[0] & 1) != 0; }

}  // namespace gemel
