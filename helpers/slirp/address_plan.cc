#include "helpers/slirp/address_plan.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstdint>
#include <string>

namespace gemel::usernet {
namespace {

constexpr unsigned kShortestPrefix = 8;
constexpr unsigned kLongestPrefix = 28;

struct Network {
  std::uint32_t address = 0;  // host byte order, as mask
  std::uint32_t mask = 0;
};

Result<Network> ParseNetwork(const std::string& text) {
  const std::size_t slash = text.find('/');
  in_addr address{};
  unsigned prefix = 0;
  if (slash != std::string::npos &&
      inet_pton(AF_INET, text.substr(0, slash).c_str(), &address) == 1) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + slash + 1, end, prefix);
    if (error == std::errc() && stop == end && prefix >= kShortestPrefix &&
        prefix <= kLongestPrefix) {
      const std::uint32_t mask = ~(0xffffffffu >> prefix);
      return Network{ntohl(address.s_addr) & mask, mask};
    }
  }
  return InvalidArgument("net: net={}: not a network as 10.0.2.0/24", text);
}

in_addr Host(const Network& network, std::uint32_t number) {
  return in_addr{htonl(network.address + number)};
}

}  // namespace

Result<AddressPlan> PlanAddresses(const UserNetConfig& config) {
  ASSIGN_OR_RETURN(const Network network, ParseNetwork(config.net));
  AddressPlan plan;
  plan.network = Host(network, 0);
  plan.mask = in_addr{htonl(network.mask)};
  plan.gateway = Host(network, 2);
  plan.name_server = Host(network, 3);
  // The fifteenth of sixteen addresses is the broadcast address.
  plan.guest = Host(network, ~network.mask > 15 ? 15 : 4);
  inet_pton(AF_INET6, "fec0::", &plan.prefix6);
  inet_pton(AF_INET6, "fec0::2", &plan.gateway6);
  inet_pton(AF_INET6, "fec0::3", &plan.name_server6);
  return plan;
}

}  // namespace gemel::usernet
