#include "hostnet/ipv4.h"

#include <gtest/gtest.h>

namespace gemel::hostnet {
namespace {

TEST(Ipv4Test, Address_ReadsAndWritesTheSame) {
  const auto address = ParseIpv4("field", "10.88.0.2");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->value, 0x0a580002U);
  EXPECT_EQ(ToText(*address), "10.88.0.2");
}

TEST(Ipv4Test, NoAddress_NamesFieldAndText) {
  for (const char* text : {"", "10.88.0", "10.88.0.256", "10.88.0.2 ", "::1", "a"}) {
    const auto address = ParseIpv4("managed_bridge.dhcp_first", text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().message,
              fmt::format("managed_bridge.dhcp_first \"{}\": not an IPv4 address such as 10.88.0.2",
                          text));
  }
}

TEST(Ipv4Test, Subnet_KnowsItsAddresses) {
  const auto subnet = ParseSubnet("field", "10.88.4.0/22");
  ASSERT_TRUE(subnet);
  EXPECT_EQ(ToText(subnet->gateway()), "10.88.4.1");
  EXPECT_EQ(ToText(subnet->last_host()), "10.88.7.254");
  EXPECT_EQ(ToText(subnet->broadcast()), "10.88.7.255");
  EXPECT_EQ(ToText(*subnet), "10.88.4.0/22");
}

TEST(Ipv4Test, SubnetWithHostBits_SaysWhatWasMeant) {
  const auto subnet = ParseSubnet("field", "10.88.0.7/24");
  ASSERT_FALSE(subnet);
  EXPECT_EQ(subnet.error().message,
            "field \"10.88.0.7/24\": that is an address in it; the subnet is 10.88.0.0/24");
}

TEST(Ipv4Test, NoSubnet_IsRefused) {
  for (const char* text : {"", "/", "10.88.0.0", "10.88.0.0/", "10.88.0.0/33", "10.88.0.0/-1",
                           "10.88.0.0/24x", "x/24", "10.88.0.0/99999999999"})
    EXPECT_FALSE(ParseSubnet("field", text)) << text;
}

TEST(Ipv4Test, Overlap_IsOneInTheOther) {
  const Subnet wide{{0x0a000000}, 8}, narrow{{0x0a580000}, 24}, other{{0x0a590000}, 24};
  EXPECT_TRUE(wide.Overlaps(narrow));
  EXPECT_TRUE(narrow.Overlaps(wide));
  EXPECT_FALSE(narrow.Overlaps(other));
  EXPECT_TRUE((Subnet{{0}, 0}.Overlaps(narrow)));
}

}  // namespace
}  // namespace gemel::hostnet
