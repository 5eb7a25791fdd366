// A guest-physical address. Its own type, so that it is not mistaken for an offset or a host
// pointer.
#pragma once
#include <compare>
#include <cstdint>

namespace gemel {

struct GuestAddress {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(GuestAddress, GuestAddress) = default;
};

}  // namespace gemel
