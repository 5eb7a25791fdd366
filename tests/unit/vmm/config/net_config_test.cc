#include "vmm/config/net_config.h"

#include <gtest/gtest.h>

namespace gemel {
namespace {

using Kind = NetConfig::Kind;

std::string Problem(const auto& result) { return result ? "no error" : result.error().message; }

TEST(ParseNet, Tap_TheRestDefault) {
  NetConfig expected;
  expected.kind = Kind::kTap;
  expected.name = "tap0";
  EXPECT_EQ(*ParseNet("tap=tap0"), expected);
}
TEST(ParseNet, EveryKeyOfATap_Understood) {
  const NetConfig net = *ParseNet(
      "tap=t0,mac=02:00:00:00:AB:01,mtu=9000,queues=4,vhost=off,rx-rate=10M,rx-burst=1M,rx-pps=7,"
      "rx-pps-burst=8,tx-rate=1G,tx-burst=2,tx-pps=3,tx-pps-burst=4");
  EXPECT_EQ(*net.mac, (MacAddress{2, 0, 0, 0, 0xab, 1}));
  EXPECT_EQ(net.mtu, 9000u);
  EXPECT_EQ(net.queues, 4u);
  EXPECT_EQ(net.vhost, VhostMode::kOff);
  EXPECT_EQ(net.rx, (NetLimit{10 << 20, 1 << 20, 7, 8}));
  EXPECT_EQ(net.tx, (NetLimit{1 << 30, 2, 3, 4}));
}
TEST(ParseNet, OtherEnds_Understood) {
  EXPECT_EQ(ParseNet("macvtap=mv0")->kind, Kind::kMacvtap);
  EXPECT_EQ(ParseNet("socket=/run/a")->path, "/run/a");
  EXPECT_EQ(ParseNet("fd=3:9")->fds, (std::vector{3, 9}));
  EXPECT_EQ(ParseNet("fd=3:9")->queues, 2u);
  EXPECT_EQ(ParseNet("user")->kind, Kind::kUser);
}
TEST(ParseNet, User_ForwardsAndItsNetwork) {
  const NetConfig net = *ParseNet(
      "user,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp:0.0.0.0:53-10.1.0.9:5353,net=10.1.0.0/16,"
      "restrict=on");
  ASSERT_EQ(net.user.forwards.size(), 2u);
  EXPECT_EQ(net.user.forwards[0], (HostForward{false, "127.0.0.1", 2222, "", 22}));
  EXPECT_EQ(net.user.forwards[1], (HostForward{true, "0.0.0.0", 53, "10.1.0.9", 5353}));
  EXPECT_EQ(net.user.net, "10.1.0.0/16");
  EXPECT_TRUE(net.user.restricted);
}
TEST(ParseNet, ForwardWithoutHostAddress_IsOfTheHostAlone) {
  EXPECT_EQ(ParseNet("user,hostfwd=tcp::80-:8080")->user.forwards[0].host_address, "127.0.0.1");
}
TEST(ParseNet, WrongInput_NamesIt) {
  EXPECT_EQ(Problem(ParseNet("")),
            "net: \"\": write user, tap=NAME, macvtap=NAME, socket=PATH or fd=N");
  EXPECT_EQ(Problem(ParseNet("tap0")),
            "net: tap0: write user, tap=NAME, macvtap=NAME, socket=PATH or fd=N");
  EXPECT_EQ(Problem(ParseNet("mtu=1500")),
            "net: mtu=1500: user, tap=, macvtap=, socket= or fd= is missing");
  EXPECT_EQ(Problem(ParseNet("user,tap=t")), "net: user,tap=t: more than one other end");
  EXPECT_EQ(Problem(ParseNet("tap=a/b")), "net: tap=a/b: not an interface's name");
  EXPECT_EQ(Problem(ParseNet("tap=interface-too-long")),
            "net: tap=interface-too-long: not an interface's name");
  EXPECT_EQ(Problem(ParseNet("tap=t,mac=1")), "net: mac: 1: not an address as 02:00:00:00:00:01");
  EXPECT_EQ(Problem(ParseNet("tap=t,mac=01:00:00:00:00:01")),
            "net: mac: 01:00:00:00:00:01: not a unicast address");
  EXPECT_EQ(Problem(ParseNet("tap=t,mtu=67")), "net: mtu: 67: not a number from 68 to 65535");
  EXPECT_EQ(Problem(ParseNet("tap=t,vhost=yes")), "net: vhost: yes: not auto, on or off");
  EXPECT_EQ(Problem(ParseNet("tap=t,rx-burst=1M")), "net: rx-burst: without rx-rate");
  EXPECT_EQ(Problem(ParseNet("tap=t,tx-rate=0")), "net: tx-rate: 0: leave it out for no limit");
  EXPECT_EQ(Problem(ParseNet("tap=t,queues=2,queues=3")), "net: queues=3: given twice");
  EXPECT_EQ(Problem(ParseNet("user,queues=2")), "net: queues=2: user and socket have one queue");
  EXPECT_EQ(Problem(ParseNet("user,vhost=on")), "net: vhost=on: only taps have it");
  EXPECT_EQ(Problem(ParseNet("fd=2")), "net: fd: 2: not a number from 3 to 1048576");
  EXPECT_EQ(Problem(ParseNet("fd=3,queues=2")), "net: fd: 1 descriptors for 2 queues");
  EXPECT_EQ(Problem(ParseNet("tap=t,hostfwd=tcp::1-:2")),
            "net: hostfwd, net and restrict belong to --net user");
  EXPECT_EQ(Problem(ParseNet("user,hostfwd=tcp:80-:8080")),
            "net: hostfwd: tcp:80-:8080: write tcp:127.0.0.1:2222-:22");
  EXPECT_EQ(Problem(ParseNet("user,hostfwd=tcp:localhost:1-:2")),
            "net: hostfwd: localhost: not an IPv4 address");
  EXPECT_EQ(Problem(ParseNet("user,net=10.0.2.1/24")),
            "net: net=10.0.2.1/24: not a network as 10.0.2.0/24, with 8 to 28 bits of prefix");
  EXPECT_EQ(Problem(ParseNet("tap=t,vhost=on,rx-pps=5")),
            "net: vhost=on: rates are limited in this process, not by the kernel");
}

TEST(DeriveMac, IsOursStableAndDifferent) {
  const MacAddress first = DeriveMac("8c7d…/web", 0);
  EXPECT_EQ(first, DeriveMac("8c7d…/web", 0));
  EXPECT_NE(first, DeriveMac("8c7d…/web", 1));
  EXPECT_NE(first, DeriveMac("8c7d…/web2", 0));
  EXPECT_EQ(first[0] & 3, 2);
}
// Released: what a guest's network was configured for must stay.
TEST(DeriveMac, Value_NeverChanges) {
  EXPECT_EQ(FormatMac(DeriveMac("web", 0)), "ce:e1:46:aa:6e:8d");
}

}  // namespace
}  // namespace gemel
