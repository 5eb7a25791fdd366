// The frame that tells bridges and switches where an Ethernet address is now: a request of RARP (RFC 903)
// to everybody, which nobody answers. What hypervisors send for a machine that has come to another host;
// one with an address of IP is not needed, since that stays at the same Ethernet address. Pure.
#pragma once
#include <array>
#include <cstddef>

#include "base/mac_address.h"

namespace gemel::net {

inline constexpr std::size_t kAnnouncementBytes = 60;  // the shortest frame, without its checksum

std::array<std::byte, kAnnouncementBytes> Announcement(const MacAddress& mac);

}  // namespace gemel::net
