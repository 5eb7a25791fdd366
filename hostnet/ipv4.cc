#include "hostnet/ipv4.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>

namespace gemel::hostnet {

Result<Ipv4> ParseIpv4(std::string_view field, std::string_view text) {
  in_addr address{};
  if (inet_pton(AF_INET, std::string(text).c_str(), &address) != 1 ||
      text.find('\0') != std::string_view::npos)
    return InvalidArgument("{} \"{}\": not an IPv4 address such as 10.88.0.2", field, text);
  return Ipv4{ntohl(address.s_addr)};
}

Result<Subnet> ParseSubnet(std::string_view field, std::string_view text) {
  const std::size_t slash = text.find('/');
  Subnet subnet;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), subnet.prefix);
    const auto base = ParseIpv4(field, text.substr(0, slash));
    if (error == std::errc() && end == digits.data() + digits.size() && base &&
        subnet.prefix <= 32) {
      subnet.base = Ipv4{base->value & subnet.mask()};
      if (subnet.base == *base) return subnet;
      return InvalidArgument("{} \"{}\": that is an address in it; the subnet is {}", field, text,
                             ToText(subnet));
    }
  }
  return InvalidArgument("{} \"{}\": not a subnet such as 10.88.0.0/24", field, text);
}

std::string ToText(Ipv4 address) {
  return fmt::format("{}.{}.{}.{}", address.value >> 24, (address.value >> 16) & 255,
                     (address.value >> 8) & 255, address.value & 255);
}

std::string ToText(const Subnet& subnet) {
  return fmt::format("{}/{}", ToText(subnet.base), subnet.prefix);
}

}  // namespace gemel::hostnet
