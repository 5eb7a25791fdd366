// What dnsmasq is told about a network, and what its lease file tells: text, no files, no processes.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hostnet/spec.h"

namespace gemel::hostnet {

// The files of one network's dnsmasq, in a folder of its own.
struct DnsmasqFiles {
  std::string folder;
  std::string config() const { return folder + "/dnsmasq.conf"; }
  std::string hosts() const { return folder + "/dhcp-hosts"; }
  std::string names() const { return folder + "/names"; }
  std::string leases() const { return folder + "/leases"; }
  std::string errors() const { return folder + "/errors"; }  // of its last start
};

// The whole of its configuration file. It binds the bridge's address alone, so it has to start anew
// when the bridge was made anew: `bridge_index` stands in the text for that. Machines get the
// addresses of the hosts file and nobody else gets any, unless spoofing is allowed.
// REQUIRES: network.managed(), with dhcp or dns.
std::string DnsmasqConfigText(const NetworkSpec& network, const std::string& bridge,
                              int bridge_index, const DnsmasqFiles& files);

struct Lease {
  std::int64_t expires = 0;  // seconds since 1970; 0: never
  MacAddress mac{};
  Ipv4 address;
  std::string hostname;  // empty: none told
};

// "MAC,address,name" a line, of untagged ports with an address; `ports` may be of any network. Where
// a card that is gone still has the lease of such an address, its MAC stands there as well: only so
// does dnsmasq give the address to the new one.
std::string DhcpHostsText(const NetworkSpec& network, const std::vector<PortSpec>& ports,
                          const std::vector<Lease>& leases);
// As /etc/hosts has it.
std::string NamesText(const NetworkSpec& network, const std::vector<PortSpec>& ports);

// Lines that are not leases of IPv4 to an Ethernet address are passed over.
std::vector<Lease> ParseLeases(std::string_view text);

}  // namespace gemel::hostnet
