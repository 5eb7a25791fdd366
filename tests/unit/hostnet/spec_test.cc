#include "hostnet/spec.h"

#include <gtest/gtest.h>

namespace gemel::hostnet {
namespace {

NetworkSpec Managed() {
  ManagedBridge bridge;
  bridge.subnet = {{0x0a580000}, 24};
  bridge.nat = bridge.dhcp = bridge.dns = true;
  bridge.domain = "one.gemel";
  return {"n1", bridge};
}

PortSpec Port() {
  PortSpec port;
  port.uid = "p1";
  port.network = "n1";
  port.mac = {2, 0, 0, 0, 0, 1};
  port.address = Ipv4{0x0a580002};
  return port;
}

std::string ProblemOf(const ManagedBridge& bridge) {
  const auto valid = Validate(NetworkSpec{"n1", bridge});
  return valid ? "" : valid.error().message;
}

TEST(HostnetSpecTest, GoodNetworkAndPort_AreValid) {
  EXPECT_TRUE(Validate(Managed()));
  EXPECT_TRUE(Validate(Port(), Managed()));
  EXPECT_TRUE(Validate(NetworkSpec{"n1", HostBridge{"br0"}}));
}

TEST(HostnetSpecTest, ReservedSubnet_IsRefusedByName) {
  ManagedBridge bridge = *Managed().managed();
  bridge.subnet = {{0x7f000000}, 24};
  EXPECT_EQ(ProblemOf(bridge),
            "managed_bridge.subnet \"127.0.0.0/24\": no host may have addresses of 127.0.0.0/8");
  bridge.subnet = {{0xe0000000}, 24};
  EXPECT_NE(ProblemOf(bridge), "");
}

TEST(HostnetSpecTest, PrefixWithoutRoom_IsRefused) {
  ManagedBridge bridge = *Managed().managed();
  for (const std::uint32_t prefix : {0U, 7U, 31U, 32U}) {
    bridge.subnet = {{prefix == 0 ? 0 : 0x0a000000U}, prefix};
    EXPECT_NE(ProblemOf(bridge), "") << prefix;
  }
}

TEST(HostnetSpecTest, RangeOutsideOfSubnet_NamesTheField) {
  ManagedBridge bridge = *Managed().managed();
  bridge.dhcp_first = {0x0a590002};
  EXPECT_EQ(ProblemOf(bridge),
            "managed_bridge.dhcp_first \"10.89.0.2\": not one of 10.88.0.2 to 10.88.0.254");
  bridge.dhcp_first = {0x0a580040};
  bridge.dhcp_last = {0x0a580020};
  EXPECT_EQ(ProblemOf(bridge),
            "managed_bridge.dhcp_last \"10.88.0.32\": before dhcp_first, 10.88.0.64");
}

// They go into configuration files and commands.
TEST(HostnetSpecTest, TextThatCouldEndALine_IsRefused) {
  ManagedBridge bridge = *Managed().managed();
  for (const char* domain : {"a\nb", "a b", "-a", "a..b", "a.", "A", "a#b", "a/b"}) {
    bridge.domain = domain;
    EXPECT_NE(ProblemOf(bridge), "") << domain;
  }
  PortSpec port = Port();
  for (const char* name : {"a\nb", "a,b", "a.b", "-", "A"}) {
    port.hostname = name;
    EXPECT_FALSE(Validate(port, Managed())) << name;
  }
  for (const char* name : {"", "a b", "a\"b", "a/b", "aaaaaaaaaaaaaaaa", ".."})
    EXPECT_FALSE(Validate(NetworkSpec{"n1", HostBridge{name}})) << name;
}

TEST(HostnetSpecTest, PortThatDoesNotFit_IsRefused) {
  PortSpec port = Port();
  port.address = Ipv4{0x0a580001};
  EXPECT_FALSE(Validate(port, Managed())) << "the bridge's own";
  port.address.reset();
  EXPECT_FALSE(Validate(port, Managed())) << "none";
  NetworkSpec loose = Managed();
  loose.allow_spoofing = true;
  EXPECT_TRUE(Validate(port, loose));
  port = Port();
  port.mac = {1, 0, 0, 0, 0, 1};
  EXPECT_FALSE(Validate(port, Managed())) << "a group's MAC";
  port = Port();
  port.vlan = 4095;
  EXPECT_FALSE(Validate(port, Managed()));
  port = Port();
  port.queues = 17;
  EXPECT_FALSE(Validate(port, Managed()));
}

TEST(AddressPlanTest, NothingWanted_LowestFreeOfTheRange) {
  const ManagedBridge bridge = *Managed().managed();
  EXPECT_EQ(ToText(*PlanAddress(bridge, {}, {})), "10.88.0.2");
  EXPECT_EQ(ToText(*PlanAddress(bridge, {{0x0a580002}, {0x0a580004}}, {})), "10.88.0.3");
}

TEST(AddressPlanTest, Wanted_ItOrNone) {
  const ManagedBridge bridge = *Managed().managed();
  EXPECT_EQ(ToText(*PlanAddress(bridge, {}, Ipv4{0x0a580009})), "10.88.0.9");
  EXPECT_EQ(PlanAddress(bridge, {{0x0a580009}}, Ipv4{0x0a580009}).error().code,
            Code::kAlreadyExists);
  for (const std::uint32_t bad : {0x0a580000U, 0x0a580001U, 0x0a5800ffU, 0x0a590002U})
    EXPECT_EQ(PlanAddress(bridge, {}, Ipv4{bad}).error().code, Code::kInvalidArgument);
}

TEST(AddressPlanTest, FullRange_SaysSo) {
  ManagedBridge bridge = *Managed().managed();
  bridge.dhcp_first = {0x0a580010};
  bridge.dhcp_last = {0x0a580011};
  const auto none = PlanAddress(bridge, {{0x0a580010}, {0x0a580011}}, {});
  EXPECT_EQ(none.error().code, Code::kResourceExhausted);
  EXPECT_EQ(none.error().message, "all addresses from 10.88.0.16 to 10.88.0.17 are taken");
}

}  // namespace
}  // namespace gemel::hostnet
