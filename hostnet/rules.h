// What nftables is to hold for a set of networks: two tables of our own name, written whole. One
// transaction replaces them, so that they are never half there; connections and their NAT live in
// conntrack and do not notice.
//
//   bridge: what a guarded port sends must carry its own MAC (in ARP too), its own address, and no
//           tag; it is no DHCP server and no router.
//   inet:   what comes from a bridge of ours reaches the same bridge, the host's DHCP, DNS and ping
//           at that bridge's address, and (nat) the world; never another bridge of ours. What goes to
//           one is an answer.
// Rules of others stay as they are and are asked as well: a firewall that drops forwarded packets
// still does.
#pragma once
#include <string>
#include <vector>

#include "hostnet/names.h"
#include "hostnet/spec.h"

namespace gemel::hostnet {

// Text for nft, for networks and ports that have passed Validate. Without networks it removes both
// tables.
std::string RulesText(const Names& names, const std::vector<NetworkSpec>& networks,
                      const std::vector<PortSpec>& ports);

}  // namespace gemel::hostnet
