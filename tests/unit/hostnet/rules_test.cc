#include "hostnet/rules.h"

#include <gtest/gtest.h>

namespace gemel::hostnet {
namespace {

class RulesTest : public testing::Test {
 protected:
  NetworkSpec Network(const std::string& uid, std::uint32_t base) {
    ManagedBridge bridge;
    bridge.subnet = {{base}, 24};
    bridge.nat = bridge.dhcp = true;
    return {uid, bridge};
  }
  PortSpec Port(const std::string& uid, const std::string& network) {
    PortSpec port;
    port.uid = uid;
    port.network = network;
    port.mac = {2, 0, 0, 0, 0, 0xab};
    port.address = Ipv4{0x0a580002};
    return port;
  }
  static bool Has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  Names names_ = *Names::Create("gm");
};

TEST_F(RulesTest, NoNetworks_RemoveBothTables) {
  EXPECT_EQ(RulesText(names_, {}, {}),
            "add table inet gemel_gm\ndelete table inet gemel_gm\n"
            "add table bridge gemel_gm\ndelete table bridge gemel_gm\n");
}

TEST_F(RulesTest, ManagedNetwork_IsInItsSets) {
  const std::string text = RulesText(names_, {Network("n1", 0x0a580000)}, {});
  const std::string bridge = "\"" + names_.Bridge("n1") + "\"";
  EXPECT_TRUE(Has(text, "set bridges { type ifname; elements = { " + bridge + " }; }"));
  EXPECT_TRUE(Has(text, "elements = { " + bridge + " . 10.88.0.0/24 }"));
  EXPECT_TRUE(Has(
      text, "set hosts { type ifname . ipv4_addr; elements = { " + bridge + " . 10.88.0.1 }; }"));
  EXPECT_TRUE(Has(text, "set nat { type ifname; elements = { " + bridge));
  EXPECT_TRUE(Has(text, "set dhcp { type ifname; elements = { " + bridge));
  EXPECT_TRUE(Has(text, "set dns { type ifname; }"));
}

TEST_F(RulesTest, GuardedPort_HasItsMacAndAddress) {
  const std::string text = RulesText(names_, {Network("n1", 0x0a580000)}, {Port("p1", "n1")});
  const std::string tap = "\"" + names_.Tap("p1") + "\"";
  EXPECT_TRUE(Has(text, "set macs { type ifname . ether_addr; elements = { " + tap +
                            " . 02:00:00:00:00:ab }; }"));
  EXPECT_TRUE(Has(
      text, "set addresses { type ifname . ipv4_addr; elements = { " + tap + " . 10.88.0.2 }; }"));
  EXPECT_TRUE(Has(text, "set pinned { type ifname; elements = { " + tap));
}

TEST_F(RulesTest, PortWithoutAddress_IsGuardedAndNotPinned) {
  PortSpec port = Port("p1", "n1");
  port.address.reset();
  const std::string text = RulesText(names_, {{"n1", HostBridge{"br0"}}}, {port});
  EXPECT_TRUE(Has(text, "set guarded { type ifname; elements = {"));
  EXPECT_TRUE(Has(text, "set pinned { type ifname; }"));
}

// A card with an address sends nothing but ARP, IPv4, and where it is now.
TEST_F(RulesTest, AnnouncementOfAPort_PassesBeforeAllElseOfAPinnedOneIsDropped) {
  const std::string text = RulesText(names_, {Network("n1", 0x0a580000)}, {Port("p1", "n1")});
  const std::size_t own = text.find("iifname . ether saddr != @macs drop");
  const std::size_t announcement = text.find("ether type 0x8035 @nh,48,16 3 accept");
  const std::size_t rest = text.find("iifname @pinned drop");
  ASSERT_NE(announcement, text.npos);
  EXPECT_LT(own, announcement);
  EXPECT_LT(announcement, rest);
}

TEST_F(RulesTest, SpoofingAllowed_LeavesPortsAlone) {
  NetworkSpec network = Network("n1", 0x0a580000);
  network.allow_spoofing = true;
  const std::string text = RulesText(names_, {network}, {Port("p1", "n1")});
  EXPECT_TRUE(Has(text, "set guarded { type ifname; }"));
}

TEST_F(RulesTest, BridgeOfTheHost_IsInNoSetOfOurs) {
  const std::string text = RulesText(names_, {{"n1", HostBridge{"br0"}}}, {});
  EXPECT_FALSE(Has(text, "br0"));
  EXPECT_TRUE(Has(text, "set bridges { type ifname; }"));
}

}  // namespace
}  // namespace gemel::hostnet
