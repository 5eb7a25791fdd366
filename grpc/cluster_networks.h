// Networks of the nodes of a cluster, as machines with failover need them: what a node says of its own,
// whether a machine's cards fit those of a node, and what a card may have of them. A network is the same on
// two nodes if its name is; making it on each is its administrator's. Pure.
#pragma once
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "etcd/spec_codec.h"
#include "grpc/api_error.h"
#include "hostnet/spec.h"
#include "proto/gemel/v1/networks.pb.h"
#include "proto/gemel/v1/virtual_machines.pb.h"

namespace gemel::daemon {

// `taken`: addresses of machines that are the node's own, in that network.
etcd::NodeNetwork DescribeNetwork(const v1::Network& network, const std::set<std::uint32_t>& taken);

// What a card's port is checked against; its uid is the network's name. kInvalidArgument if what a node
// says makes no sense.
Result<hostnet::NetworkSpec> ToNetworkSpec(const etcd::NodeNetwork& network);

// Why a node that has `networks` cannot have a machine of that spec, whose addresses are settled, naming
// field and value; empty: it can.
std::string NetworkObstacle(const v1::VirtualMachineSpec& spec,
                            std::span<const etcd::NodeNetwork> networks);

// Whether a network of its cards' is being made there, or going: the obstacle will not last.
bool NetworksChange(const v1::VirtualMachineSpec& spec,
                    std::span<const etcd::NodeNetwork> networks);

// What of two networks of one name is not alike, though machines rely on it; empty: nothing.
std::string NetworkDifference(const etcd::NodeNetwork& one, const etcd::NodeNetwork& other);

}  // namespace gemel::daemon
