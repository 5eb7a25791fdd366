#include "grpc/convert_network.h"

#include <gtest/gtest.h>

namespace gemel::daemon {
namespace {

v1::Network Network() {
  v1::Network network;
  network.set_name("projects/shop/networks/front");
  network.set_uid("5a0e4cf1");
  v1::ManagedBridge& bridge = *network.mutable_managed_bridge();
  bridge.set_subnet("10.88.0.0/24");
  bridge.set_nat(true);
  bridge.set_dhcp(true);
  return network;
}

TEST(ConvertNetworkTest, ManagedBridge_GetsItsDefaults) {
  const auto spec = ToNetworkSpec(Network(), "network");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->uid, "5a0e4cf1");
  const hostnet::ManagedBridge& bridge = *spec->managed();
  EXPECT_EQ(hostnet::ToText(bridge.subnet), "10.88.0.0/24");
  EXPECT_EQ(hostnet::ToText(bridge.first()), "10.88.0.2");
  EXPECT_EQ(bridge.domain, "front.shop.gemel");
  EXPECT_EQ(bridge.mtu, 1500U);
  EXPECT_TRUE(bridge.nat && bridge.dhcp && !bridge.dns);
}

TEST(ConvertNetworkTest, HostBridge_IsItsInterface) {
  v1::Network network = Network();
  network.mutable_host_bridge()->set_interface("br0");
  network.set_allow_spoofing(true);
  const auto spec = ToNetworkSpec(network, "network");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->host()->interface, "br0");
  EXPECT_TRUE(spec->allow_spoofing);
}

TEST(ConvertNetworkTest, WrongField_IsNamedWithItsValue) {
  v1::Network network = Network();
  network.mutable_managed_bridge()->set_dhcp_last("10.88.0");
  const auto spec = ToNetworkSpec(network, "network");
  ASSERT_FALSE(spec);
  EXPECT_EQ(spec.error().code(), static_cast<int>(Code::kInvalidArgument));
  EXPECT_NE(spec.error().message().find("\"10.88.0\""), std::string::npos);
  EXPECT_NE(spec.error().ShortDebugString().find("network.managed_bridge.dhcp_last"),
            std::string::npos);
}

TEST(ConvertNetworkTest, NoKind_IsRefused) {
  v1::Network network = Network();
  network.clear_kind();
  EXPECT_FALSE(ToNetworkSpec(network, "network"));
}

TEST(ConvertNetworkTest, Lease_HasWhatTheServerSaid) {
  const v1::Lease lease = ToLease({1700000000, {2, 0, 0, 0, 0, 0xab}, {0x0a580002}, "web"});
  EXPECT_EQ(lease.mac_address(), "02:00:00:00:00:ab");
  EXPECT_EQ(lease.ip_address(), "10.88.0.2");
  EXPECT_EQ(lease.hostname(), "web");
  EXPECT_EQ(lease.expire_time().seconds(), 1700000000);
}

}  // namespace
}  // namespace gemel::daemon
