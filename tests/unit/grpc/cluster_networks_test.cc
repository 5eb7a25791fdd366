#include "grpc/cluster_networks.h"

#include <gtest/gtest.h>

namespace gemel::daemon {
namespace {

constexpr char kLan[] = "projects/p/networks/lan";

v1::Network Managed() {
  v1::Network network;
  network.set_name(kLan);
  network.set_state(v1::NETWORK_STATE_READY);
  network.mutable_managed_bridge()->set_subnet("10.88.0.0/24");
  return network;
}

v1::Network OfTheHost() {
  v1::Network network;
  network.set_name(kLan);
  network.set_state(v1::NETWORK_STATE_READY);
  network.mutable_host_bridge()->set_interface("br0");
  return network;
}

v1::VirtualMachineSpec WithCard(const std::string& address) {
  v1::VirtualMachineSpec spec;
  spec.add_nics();  // user networking
  v1::NetworkInterface& nic = *spec.add_nics();
  nic.set_network(kLan);
  nic.set_mac_address("02:00:00:00:00:01");
  nic.set_ip_address(address);
  return spec;
}

std::string ObstacleOf(const v1::VirtualMachineSpec& spec, const v1::Network& network,
                       const std::set<std::uint32_t>& taken = {}) {
  return NetworkObstacle(spec, std::vector{DescribeNetwork(network, taken)});
}

TEST(NetworkObstacle, NodeHasTheNetwork_IsNone) {
  EXPECT_EQ(ObstacleOf(WithCard("10.88.0.5"), Managed()), "");
  EXPECT_EQ(ObstacleOf(WithCard(""), OfTheHost()), "");
  EXPECT_EQ(ObstacleOf(WithCard("192.0.2.7"), OfTheHost()), "");
  EXPECT_EQ(NetworkObstacle({}, {}), "");
}

TEST(NetworksChange, NetworkOfACardIsBeingMade_ButNoOther) {
  v1::Network network = Managed();
  const auto changes = [&](const v1::VirtualMachineSpec& spec) {
    return NetworksChange(spec, std::vector{DescribeNetwork(network, {})});
  };
  EXPECT_FALSE(changes(WithCard("10.88.0.5")));
  network.set_state(v1::NETWORK_STATE_CREATING);
  EXPECT_TRUE(changes(WithCard("10.88.0.5")));
  EXPECT_FALSE(changes({}));
  network.set_name("projects/p/networks/another");
  EXPECT_FALSE(changes(WithCard("10.88.0.5")));
}

TEST(NetworkObstacle, NoSuchNetwork_IsNamedWithItsField) {
  EXPECT_EQ(NetworkObstacle(WithCard("10.88.0.5"), {}),
            "spec.nics[1].network \"projects/p/networks/lan\": there is no such network");
}

TEST(NetworkObstacle, AddressOfAnotherSubnet_IsNamed) {
  v1::Network network = Managed();
  network.mutable_managed_bridge()->set_subnet("10.89.0.0/24");
  const std::string why = ObstacleOf(WithCard("10.88.0.5"), network);
  EXPECT_NE(why.find("ip_address \"10.88.0.5\": not a machine's in 10.89.0.0/24"), why.npos) << why;
}

TEST(NetworkObstacle, CardWithoutAddressOnAManagedBridge_NeedsOne) {
  EXPECT_NE(ObstacleOf(WithCard(""), Managed()), "");
  v1::Network network = Managed();
  network.set_allow_spoofing(true);
  EXPECT_EQ(ObstacleOf(WithCard(""), network), "");
}

TEST(NetworkObstacle, AddressThatAMachineOfTheNodeHas_IsNamed) {
  const std::set<std::uint32_t> taken = {0x0a580004, 0x0a580005};
  const std::string why = ObstacleOf(WithCard("10.88.0.5"), Managed(), taken);
  EXPECT_NE(why.find("10.88.0.5"), why.npos) << why;
  EXPECT_EQ(ObstacleOf(WithCard("10.88.0.6"), Managed(), taken), "");
  v1::VirtualMachineSpec tagged = WithCard("10.88.0.5");
  tagged.mutable_nics(1)->set_vlan(7);
  EXPECT_EQ(ObstacleOf(tagged, Managed(), taken), "");
}

TEST(NetworkObstacle, NetworkThatDoesNotWork_IsOneAsLong) {
  v1::Network network = OfTheHost();
  network.set_state(v1::NETWORK_STATE_FAILED);
  network.set_message("bridge br0: the host has no such interface");
  const std::string why = ObstacleOf(WithCard(""), network);
  EXPECT_NE(why.find("the host has no such interface"), why.npos) << why;
  network.set_state(v1::NETWORK_STATE_CREATING);
  network.clear_message();
  EXPECT_NE(ObstacleOf(WithCard(""), network), "");
}

// What comes from etcd is another node's word.
TEST(NetworkObstacle, NonsenseOfAnotherNode_IsOne) {
  etcd::NodeNetwork network{kLan, "10.88.0.0/99", "", "", false, "", {}};
  EXPECT_NE(NetworkObstacle(WithCard("10.88.0.5"), std::vector{network}), "");
  network.subnet = "10.88.0.0/24";
  network.dhcp_first = "x";
  EXPECT_NE(NetworkObstacle(WithCard("10.88.0.5"), std::vector{network}), "");
}

TEST(NetworkDifference, WhatMachinesRelyOn) {
  const etcd::NodeNetwork managed = DescribeNetwork(Managed(), {});
  EXPECT_EQ(NetworkDifference(managed, managed), "");
  etcd::NodeNetwork other = managed;
  other.dhcp_first = "10.88.0.50";
  other.taken = {0x0a580005};
  EXPECT_EQ(NetworkDifference(managed, other), "");
  other.subnet = "10.89.0.0/24";
  EXPECT_EQ(NetworkDifference(managed, other), "10.89.0.0/24, not 10.88.0.0/24");
  EXPECT_EQ(NetworkDifference(managed, DescribeNetwork(OfTheHost(), {})),
            "a bridge of the host, not 10.88.0.0/24");
  other = managed;
  other.allow_spoofing = true;
  EXPECT_EQ(NetworkDifference(managed, other), "allow_spoofing true, not false");
}

}  // namespace
}  // namespace gemel::daemon
