#include "etcd/endpoints.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstdint>

namespace gemel::etcd {
namespace {

bool IsAddress(int family, std::string_view text) {
  in6_addr out{};
  return inet_pton(family, std::string(text).c_str(), &out) == 1;
}

bool IsPort(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port != 0;
}

}  // namespace

// Addresses alone: a name would have to be looked up just when a network is broken.
Result<std::string> GrpcTarget(std::string_view endpoint) {
  if (endpoint.starts_with("unix:/")) return std::string(endpoint);
  const std::size_t colon = endpoint.rfind(':');
  if (colon != std::string_view::npos && IsPort(endpoint.substr(colon + 1))) {
    const std::string_view host = endpoint.substr(0, colon);
    if (IsAddress(AF_INET, host)) return fmt::format("ipv4:{}", endpoint);
    if (host.starts_with('[') && host.ends_with(']') &&
        IsAddress(AF_INET6, host.substr(1, host.size() - 2)))
      return fmt::format("ipv6:{}", endpoint);
  }
  return InvalidArgument("endpoint {}: ADDRESS:PORT, [IPv6]:PORT or unix:/PATH", endpoint);
}

}  // namespace gemel::etcd
