#include "hostnet/dnsmasq_config.h"

#include <gtest/gtest.h>

namespace gemel::hostnet {
namespace {

const DnsmasqFiles kFiles{"/run/networks/gmbr1"};

NetworkSpec Network() {
  ManagedBridge bridge;
  bridge.subnet = {{0x0a580000}, 24};
  bridge.nat = bridge.dhcp = bridge.dns = true;
  bridge.domain = "one.gemel";
  return {"n1", bridge};
}

ManagedBridge& BridgeOf(NetworkSpec& network) { return std::get<ManagedBridge>(network.kind); }

PortSpec Port(const std::string& hostname, std::uint32_t address) {
  PortSpec port;
  port.uid = hostname;
  port.network = "n1";
  port.mac = {2, 0, 0, 0, 0, 0xab};
  port.address = Ipv4{address};
  port.hostname = hostname;
  return port;
}

TEST(DnsmasqConfigTest, Network_WholeText) {
  EXPECT_EQ(DnsmasqConfigText(Network(), "gmbr1", 7, kFiles),
            "# Written by gemeld, for interface gmbr1 with index 7.\n"
            "interface=gmbr1\n"
            "except-interface=lo\n"
            "listen-address=10.88.0.1\n"
            "bind-interfaces\n"
            "pid-file=\n"
            "domain=one.gemel\n"
            "no-hosts\n"
            "addn-hosts=/run/networks/gmbr1/names\n"
            "cache-size=1000\n"
            "domain-needed\n"
            "bogus-priv\n"
            "local=/one.gemel/\n"
            "dhcp-authoritative\n"
            "no-ping\n"
            "dhcp-leasefile=/run/networks/gmbr1/leases\n"
            "dhcp-hostsfile=/run/networks/gmbr1/dhcp-hosts\n"
            "dhcp-range=10.88.0.0,static,255.255.255.0,1h\n");
}

TEST(DnsmasqConfigTest, SpoofingAllowed_AnyoneGetsAnAddress) {
  NetworkSpec network = Network();
  network.allow_spoofing = true;
  EXPECT_NE(DnsmasqConfigText(network, "gmbr1", 7, kFiles)
                .find("dhcp-range=10.88.0.2,10.88.0.254,255.255.255.0,1h\n"),
            std::string::npos);
}

TEST(DnsmasqConfigTest, NoNat_NoRouter) {
  NetworkSpec network = Network();
  BridgeOf(network).nat = false;
  BridgeOf(network).mtu = 9000;
  const std::string text = DnsmasqConfigText(network, "gmbr1", 7, kFiles);
  EXPECT_NE(text.find("dhcp-option=option:router\n"), std::string::npos);
  EXPECT_NE(text.find("dhcp-option=option:mtu,9000\n"), std::string::npos);
}

TEST(DnsmasqConfigTest, NoDns_NoPort) {
  NetworkSpec network = Network();
  BridgeOf(network).dns = false;
  const std::string text = DnsmasqConfigText(network, "gmbr1", 7, kFiles);
  EXPECT_NE(text.find("port=0\n"), std::string::npos);
  EXPECT_EQ(text.find("addn-hosts"), std::string::npos);
}

TEST(DnsmasqConfigTest, Hosts_AreThoseOfTheNetwork) {
  PortSpec other = Port("other", 0x0a580005);
  other.network = "n2";
  PortSpec tagged = Port("tagged", 0x0a580006);
  tagged.vlan = 5;
  const std::vector<PortSpec> ports = {Port("web", 0x0a580002), other, tagged};
  EXPECT_EQ(DhcpHostsText(Network(), ports, {}), "02:00:00:00:00:ab,10.88.0.2,web\n");
  EXPECT_EQ(NamesText(Network(), ports), "10.88.0.2 web.one.gemel web\n");
}

TEST(LeasesTest, LinesOfDnsmasq_AreRead) {
  const auto leases = ParseLeases(
      "1700000000 02:00:00:00:00:ab 10.88.0.2 web 01:02:00:00:00:00:ab\n"
      "0 02:00:00:00:00:cd 10.88.0.3 * *\n");
  ASSERT_EQ(leases.size(), 2U);
  EXPECT_EQ(leases[0].expires, 1700000000);
  EXPECT_EQ(leases[0].hostname, "web");
  EXPECT_EQ(ToText(leases[1].address), "10.88.0.3");
  EXPECT_EQ(leases[1].hostname, "");
  EXPECT_EQ(leases[1].mac[5], 0xcd);
}

TEST(LeasesTest, OtherLines_ArePassedOver) {
  EXPECT_TRUE(ParseLeases("duid 00:01\n\n1 2 3\nx y z w\n"
                          "1 02:00:00:00:00:zz 10.88.0.3 a b\n"
                          "1 06-02:00:00:00:00:cd 10.88.0.3 a b\n"
                          "1 02:00:00:00:00:cd 10.88.0 a b\n")
                  .empty());
}

// dnsmasq keeps an address for a card that is gone, unless the new one is said to be the same host.
TEST(DnsmasqConfigTest, LeaseOfACardThatIsGone_IsTheNewOnes) {
  PortSpec other = Port("db", 0x0a580003);
  other.mac[5] = 1;
  const std::vector<Lease> leases = {{0, {2, 0, 0, 0, 0, 9}, {0x0a580002}, ""},
                                     {0, {2, 0, 0, 0, 0, 0xab}, {0x0a580003}, ""},
                                     {0, {2, 0, 0, 0, 0, 8}, {0x0a580009}, ""}};
  EXPECT_EQ(DhcpHostsText(Network(), {Port("web", 0x0a580002), other}, leases),
            "02:00:00:00:00:ab,02:00:00:00:00:09,10.88.0.2,web\n"
            "02:00:00:00:00:01,10.88.0.3,db\n");
}

}  // namespace
}  // namespace gemel::hostnet
