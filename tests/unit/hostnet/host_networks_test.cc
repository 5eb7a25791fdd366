#include "hostnet/host_networks.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/fakes/fake_hostnet.h"

namespace gemel::hostnet {
namespace {

NetworkSpec Managed(const std::string& uid = "n1", std::uint32_t base = 0x0a580000) {
  ManagedBridge bridge;
  bridge.subnet = {{base}, 24};
  bridge.nat = bridge.dhcp = bridge.dns = true;
  return {uid, bridge};
}

PortSpec Port(const std::string& uid = "p1", std::uint8_t number = 2) {
  PortSpec port;
  port.uid = uid;
  port.network = "n1";
  port.mac = {2, 0, 0, 0, 0, number};
  port.address = Ipv4{0x0a580000U + number};
  return port;
}

class HostNetworksTest : public testing::Test {
 protected:
  HostNetworksTest() {
    std::filesystem::create_directory(folder_);
    kernel_.Add("eth0", "");
    kernel_.addresses.push_back({1, {{0xc0000200}, 24}, {0xc0000201}});
    Restart();
  }
  ~HostNetworksTest() override { std::filesystem::remove_all(folder_); }

  void Restart() {
    networks_ =
        std::make_unique<HostNetworks>(HostNetworks::Options{names_, folder_}, FakeHost(&kernel_));
  }
  Link* Bridge(const std::string& uid = "n1") { return kernel_.Named(names_.Bridge(uid)); }

  FakeKernel kernel_;
  Names names_ = *Names::Create("gm");
  std::string folder_ = testing::TempDir() + "/host-networks-test";
  std::unique_ptr<HostNetworks> networks_;
};

TEST_F(HostNetworksTest, Put_MakesBridgeRulesAndServer) {
  ASSERT_TRUE(networks_->PutNetwork(Managed()));
  ASSERT_NE(Bridge(), nullptr);
  EXPECT_TRUE(Bridge()->up);
  EXPECT_EQ(kernel_.addresses.back().address, Ipv4{0x0a580001});
  EXPECT_NE(kernel_.rules.find(Bridge()->name), std::string::npos);
  EXPECT_TRUE(kernel_.servers.contains(Bridge()->name));
  EXPECT_EQ(kernel_.sysctls["ipv4/ip_forward"], "1");
  EXPECT_EQ(kernel_.sysctls[fmt::format("ipv6/conf/{}/disable_ipv6", Bridge()->name)], "1");
}

TEST_F(HostNetworksTest, PutTwice_ChangesNothing) {
  ASSERT_TRUE(networks_->PutNetwork(Managed()));
  ASSERT_TRUE(networks_->PutPort(Port()));
  ASSERT_TRUE(networks_->OpenPort("p1"));
  kernel_.changes = 0;
  ASSERT_TRUE(networks_->PutNetwork(Managed()));
  EXPECT_EQ(kernel_.changes, 0);
}

TEST_F(HostNetworksTest, NoNetworks_TouchNothing) {
  ASSERT_TRUE(networks_->Adopt({}, {}));
  EXPECT_EQ(kernel_.changes, 0);
}

TEST_F(HostNetworksTest, Check_TellsAndPutsBackWhatSomebodyChanged) {
  ASSERT_TRUE(networks_->PutNetwork(Managed()));
  ASSERT_TRUE(networks_->PutPort(Port()));
  ASSERT_TRUE(networks_->OpenPort("p1"));
  const auto nothing = networks_->Check();
  ASSERT_TRUE(nothing);
  EXPECT_TRUE(nothing->empty());
  const std::string rules = kernel_.rules;
  kernel_.rules = "flushed";
  kernel_.sysctls["ipv4/ip_forward"] = "0";
  kernel_.ended = {Bridge()->name};
  kernel_.Named(networks_->TapOf("p1"))->bridge = 0;
  Bridge()->up = false;
  const auto repairs = networks_->Check();
  ASSERT_TRUE(repairs);
  EXPECT_EQ(repairs->size(), 5U);
  EXPECT_EQ(std::ranges::count(*repairs, "n1", &Repair::network), 3);
  EXPECT_EQ(kernel_.rules, rules);
  EXPECT_EQ(kernel_.sysctls["ipv4/ip_forward"], "1");
  EXPECT_EQ(kernel_.Named(networks_->TapOf("p1"))->bridge, Bridge()->index);
  EXPECT_TRUE(networks_->Check()->empty());
}

TEST_F(HostNetworksTest, PortsOfAnOwner_GoTogether) {
  ASSERT_TRUE(networks_->PutNetwork(Managed()));
  ASSERT_TRUE(networks_->PutPort(Port("vm/0", 2)));
  ASSERT_TRUE(networks_->PutPort(Port("vm/1", 3)));
  ASSERT_TRUE(networks_->PutPort(Port("vm2/0", 4)));
  ASSERT_TRUE(networks_->RemovePortsOf("vm"));
  ASSERT_EQ(networks_->ports().size(), 1U);
  EXPECT_EQ(networks_->ports()[0].uid, "vm2/0");
}

TEST_F(HostNetworksTest, Adopt_ChangesNothingOfWhatIsThere) {
  ASSERT_TRUE(networks_->PutNetwork(Managed()));
  ASSERT_TRUE(networks_->PutPort(Port()));
  ASSERT_TRUE(networks_->OpenPort("p1"));
  kernel_.changes = 0;
  Restart();
  ASSERT_TRUE(networks_->Adopt({Managed()}, {Port()}));
  EXPECT_EQ(kernel_.changes, 1);
  EXPECT_EQ(networks_->OpenPort("p1").error().code, Code::kAlreadyExists);
}

TEST_F(HostNetworksTest, Open_PutsTheTapIntoItsBridge) {
  ASSERT_TRUE(networks_->PutNetwork(Managed()));
  PortSpec port = Port();
  port.queues = 4;
  ASSERT_TRUE(networks_->PutPort(port));
  const auto fds = networks_->OpenPort("p1");
  ASSERT_TRUE(fds);
  EXPECT_EQ(fds->size(), 4U);
  const Link* tap = kernel_.Named(networks_->TapOf("p1"));
  EXPECT_EQ(tap->bridge, Bridge()->index);
  EXPECT_TRUE(tap->up);
  EXPECT_EQ(tap->mac[0], 0xfe);
}

TEST_F(HostNetworksTest, Adopt_RemovesWhatNobodyWants) {
  ASSERT_TRUE(networks_->PutNetwork(Managed()));
  ASSERT_TRUE(networks_->PutPort(Port()));
  ASSERT_TRUE(networks_->OpenPort("p1"));
  Restart();
  ASSERT_TRUE(networks_->Adopt({}, {}));
  EXPECT_EQ(kernel_.links.size(), 1U);
  EXPECT_TRUE(kernel_.servers.empty());
  EXPECT_EQ(kernel_.sysctls["ipv4/ip_forward"], "0");
}

// Whatever step a daemon ends at, or the kernel refuses: nothing stays that the next does not find.
TEST_F(HostNetworksTest, FailureAtAnyStep_IsCleanedByTheNext) {
  const auto links = kernel_.links.size();
  const auto sysctls = kernel_.sysctls;
  for (int step = 0; step < 20; ++step) {
    kernel_.changes = 0;
    kernel_.fail_at = step;
    static_cast<void>(networks_->Adopt({Managed()}, {Port()}));
    static_cast<void>(networks_->OpenPort("p1"));
    kernel_.fail_at = -1;
    Restart();
    ASSERT_TRUE(networks_->Adopt({}, {}));
    EXPECT_EQ(kernel_.links.size(), links) << step;
    EXPECT_EQ(kernel_.sysctls, sysctls) << step;
    EXPECT_EQ(kernel_.addresses.size(), 1U) << step;
    EXPECT_TRUE(kernel_.servers.empty()) << step;
  }
}

TEST_F(HostNetworksTest, FailureOfANewNetwork_TakesItBack) {
  ASSERT_TRUE(networks_->PutNetwork(Managed("n2", 0x0a590000)));
  kernel_.changes = 0;
  kernel_.fail_at = 2;
  EXPECT_FALSE(networks_->PutNetwork(Managed()));
  EXPECT_EQ(networks_->networks().size(), 1U);
  EXPECT_EQ(Bridge(), nullptr);
  EXPECT_NE(Bridge("n2"), nullptr);
}

TEST_F(HostNetworksTest, SubnetOfTheHost_IsRefused) {
  const auto refused = networks_->PutNetwork(Managed("n1", 0xc0000200));
  EXPECT_EQ(refused.error().code, Code::kFailedPrecondition);
  EXPECT_EQ(refused.error().message,
            "managed_bridge.subnet \"192.0.2.0/24\": the host has 192.0.2.0/24 at eth0");
  kernel_.routes.push_back({1, {{0x0a000000}, 8}, {}});
  EXPECT_FALSE(networks_->PutNetwork(Managed()));
}

TEST_F(HostNetworksTest, SubnetAndKind_CannotBeChanged) {
  ASSERT_TRUE(networks_->PutNetwork(Managed()));
  EXPECT_FALSE(networks_->PutNetwork(Managed("n1", 0x0a590000)));
  EXPECT_FALSE(networks_->PutNetwork({"n1", HostBridge{"br0"}}));
  NetworkSpec network = Managed();
  std::get<ManagedBridge>(network.kind).nat = false;
  EXPECT_TRUE(networks_->PutNetwork(network));
  EXPECT_EQ(kernel_.sysctls["ipv4/ip_forward"], "0");
}

TEST_F(HostNetworksTest, NetworkWithPorts_StaysUntilTheyAreGone) {
  ASSERT_TRUE(networks_->PutNetwork(Managed()));
  ASSERT_TRUE(networks_->PutPort(Port()));
  EXPECT_EQ(networks_->RemoveNetwork("n1").error().code, Code::kFailedPrecondition);
  ASSERT_TRUE(networks_->RemovePort("p1"));
  ASSERT_TRUE(networks_->RemoveNetwork("n1"));
  ASSERT_TRUE(networks_->RemoveNetwork("n1"));
}

TEST_F(HostNetworksTest, SameAddressOrMac_IsRefused) {
  ASSERT_TRUE(networks_->PutNetwork(Managed()));
  ASSERT_TRUE(networks_->PutPort(Port("p1", 2)));
  PortSpec other = Port("p2", 3);
  other.mac = Port("p1", 2).mac;
  EXPECT_EQ(networks_->PutPort(other).error().code, Code::kAlreadyExists);
  other = Port("p2", 3);
  other.address = Port("p1", 2).address;
  EXPECT_EQ(networks_->PutPort(other).error().code, Code::kAlreadyExists);
  EXPECT_TRUE(networks_->PutPort(Port("p2", 3)));
}

TEST_F(HostNetworksTest, BridgeOfTheHost_IsNotTouched) {
  const Link before = kernel_.Add("br0", "bridge");
  ASSERT_TRUE(networks_->PutNetwork({"n1", HostBridge{"br0"}}));
  ASSERT_TRUE(networks_->PutPort(Port()));
  ASSERT_TRUE(networks_->OpenPort("p1"));
  const Link after = *kernel_.Named("br0");
  EXPECT_EQ(after.up, before.up);
  EXPECT_EQ(after.mac, before.mac);
  EXPECT_EQ(kernel_.sysctls["ipv6/conf/br0/disable_ipv6"], "0");
  EXPECT_EQ(kernel_.sysctls["ipv4/ip_forward"], "0");
}

TEST_F(HostNetworksTest, BridgeOfTheHostThatIsNone_IsRefusedByName) {
  EXPECT_EQ(networks_->PutNetwork({"n1", HostBridge{"br0"}}).error().code, Code::kNotFound);
  EXPECT_EQ(networks_->PutNetwork({"n1", HostBridge{"eth0"}}).error().message,
            "host_bridge.interface \"eth0\": not a bridge but hardware");
}

TEST_F(HostNetworksTest, Tag_NeedsABridgeThatFilters) {
  kernel_.Add("br0", "bridge");
  ASSERT_TRUE(networks_->PutNetwork({"n1", HostBridge{"br0"}}));
  PortSpec port = Port();
  port.vlan = 7;
  EXPECT_EQ(networks_->PutPort(port).error().code, Code::kFailedPrecondition);
  EXPECT_TRUE(networks_->ports().empty());
  kernel_.Named("br0")->vlan_filtering = true;
  ASSERT_TRUE(networks_->PutPort(port));
  ASSERT_TRUE(networks_->OpenPort("p1"));
  EXPECT_EQ(kernel_.port_vlans[kernel_.Named(networks_->TapOf("p1"))->index], 7U);
}

TEST_F(HostNetworksTest, TagOnAKernelWithoutFiltering_IsRefused) {
  kernel_.filters_vlans = false;
  ASSERT_TRUE(networks_->PutNetwork(Managed()));
  PortSpec port = Port();
  port.vlan = 7;
  EXPECT_EQ(networks_->PutPort(port).error().code, Code::kUnimplemented);
  EXPECT_EQ(networks_->Problem("n1"), "");
}

TEST_F(HostNetworksTest, OneBrokenNetwork_LeavesTheOthers) {
  kernel_.Add("br0", "bridge");
  ASSERT_TRUE(networks_->PutNetwork({"n1", HostBridge{"br0"}}));
  std::erase_if(kernel_.links, [](const Link& link) { return link.name == "br0"; });
  ASSERT_TRUE(networks_->PutNetwork(Managed("n2", 0x0a590000)));
  EXPECT_NE(networks_->Problem("n1"), "");
  EXPECT_EQ(networks_->Problem("n2"), "");
}

}  // namespace
}  // namespace gemel::hostnet
