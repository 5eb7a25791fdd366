#include "helpers/slirp/address_plan.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <string>

namespace gemel::usernet {
namespace {

std::string Text(const in_addr& address) {
  char text[INET_ADDRSTRLEN];
  return inet_ntop(AF_INET, &address, text, sizeof text);
}
std::string Text(const in6_addr& address) {
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(AF_INET6, &address, text, sizeof text);
}

UserNetConfig Network(std::string net) {
  UserNetConfig config;
  config.net = std::move(net);
  return config;
}

TEST(AddressPlan, DefaultNetwork_IsThatOfQemu) {
  const auto plan = PlanAddresses({});
  ASSERT_TRUE(plan);
  EXPECT_EQ(Text(plan->network), "10.0.2.0");
  EXPECT_EQ(Text(plan->mask), "255.255.255.0");
  EXPECT_EQ(Text(plan->gateway), "10.0.2.2");
  EXPECT_EQ(Text(plan->name_server), "10.0.2.3");
  EXPECT_EQ(Text(plan->guest), "10.0.2.15");
  EXPECT_EQ(Text(plan->prefix6), "fec0::");
  EXPECT_EQ(Text(plan->gateway6), "fec0::2");
  EXPECT_EQ(Text(plan->name_server6), "fec0::3");
}

TEST(AddressPlan, LargestNetwork_HasAddressesAtItsStart) {
  const auto plan = PlanAddresses(Network("10.0.0.0/8"));
  ASSERT_TRUE(plan);
  EXPECT_EQ(Text(plan->mask), "255.0.0.0");
  EXPECT_EQ(Text(plan->guest), "10.0.0.15");
}

TEST(AddressPlan, SmallestNetwork_DoesNotGiveItsBroadcastAddress) {
  const auto plan = PlanAddresses(Network("192.168.1.16/28"));
  ASSERT_TRUE(plan);
  EXPECT_EQ(Text(plan->gateway), "192.168.1.18");
  EXPECT_EQ(Text(plan->guest), "192.168.1.20");
}

TEST(AddressPlan, WordsThatAreNoNetwork_AreRefused) {
  for (const char* net : {"", "10.0.2.0", "10.0.2.0/", "10.0.2.0/7", "10.0.2.0/29", "10.0.2/24",
                          "10.0.2.0/24x", "/24"}) {
    const auto plan = PlanAddresses(Network(net));
    ASSERT_FALSE(plan) << net;
    EXPECT_EQ(plan.error().code, Code::kInvalidArgument) << net;
  }
}

}  // namespace
}  // namespace gemel::usernet
