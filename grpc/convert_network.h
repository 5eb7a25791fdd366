// From what the API says of a network and of a card in it to what the host is to have. Pure.
#pragma once
#include <string_view>

#include "grpc/api_error.h"
#include "hostnet/dnsmasq_config.h"
#include "hostnet/spec.h"
#include "proto/gemel/v1/networks.pb.h"

namespace gemel::daemon {

// `network.name` and `uid` are set. kInvalidArgument naming "<prefix>.<field>" and its value.
ApiResult<hostnet::NetworkSpec> ToNetworkSpec(const v1::Network& network, std::string_view prefix);

// Made, and not about to go; whether it works is another question.
inline bool IsThere(const v1::Network& network) {
  return network.state() == v1::NETWORK_STATE_READY || network.state() == v1::NETWORK_STATE_FAILED;
}

v1::Lease ToLease(const hostnet::Lease& lease);

}  // namespace gemel::daemon
