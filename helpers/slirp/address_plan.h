// Which addresses a user network has. Pure.
//
//   10.0.2.0/24      fec0::/64
//   10.0.2.2         fec0::2     the gateway, which is the host too
//   10.0.2.3         fec0::3     the name server: the host's own, passed on
//   10.0.2.15        by itself   the guest, by DHCP
#pragma once
#include <netinet/in.h>

#include "base/result.h"
#include "vmm/config/net_config.h"

namespace gemel::usernet {

struct AddressPlan {
  in_addr network{}, mask{};
  in_addr gateway{}, name_server{}, guest{};
  in6_addr prefix6{}, gateway6{}, name_server6{};
};
inline constexpr unsigned kPrefix6Bits = 64;

// Second, third and fifteenth address of the network; in one of 16 addresses the guest has the
// fourth. kInvalidArgument for what Validate(NetConfig) refuses.
Result<AddressPlan> PlanAddresses(const UserNetConfig& config);

}  // namespace gemel::usernet
