#include "virtio/net/control.h"

#include <gtest/gtest.h>

#include <string>

namespace gemel::virtio {
namespace {

using namespace std::string_literals;

constexpr std::uint64_t kEverything = ~0ull;
constexpr MacAddress kOwn = {2, 0, 0, 0, 0, 1};

class NetControl : public ::testing::Test {
 protected:
  NetControlAck Do(std::string command, std::uint64_t features = kEverything) {
    const std::size_t half = command.size() / 2;  // in two pieces, as a driver may
    const iovec pieces[] = {{command.data(), half}, {command.data() + half, command.size() - half}};
    return ApplyNetControl(pieces, {.features = features, .max_pairs = 4}, settings_);
  }
  NetSettings settings_ = NetSettings::Fresh(kEverything, kOwn);
};
#define EXPECT_DONE(...) EXPECT_EQ(Do(__VA_ARGS__), NetControlAck::kOk)
#define EXPECT_REFUSED(...) EXPECT_EQ(Do(__VA_ARGS__), NetControlAck::kError)

TEST_F(NetControl, RxModes_AreSet) {
  EXPECT_DONE("\0\0\0"s);
  EXPECT_FALSE(settings_.filter.promiscuous);
  EXPECT_DONE("\0\1\1"s);
  EXPECT_TRUE(settings_.filter.all_multicast);
  EXPECT_DONE("\0\2\1"s);
  EXPECT_TRUE(settings_.filter.all_unicast);
  EXPECT_DONE("\0\3\1"s);
  EXPECT_TRUE(settings_.filter.no_multicast);
  EXPECT_DONE("\0\4\1"s);
  EXPECT_TRUE(settings_.filter.no_unicast);
  EXPECT_DONE("\0\5\1"s);
  EXPECT_TRUE(settings_.filter.no_broadcast);
}
TEST_F(NetControl, RxModes_WrongOnesRefused) {
  EXPECT_REFUSED("\0\6\1"s);
  EXPECT_REFUSED("\0\0\2"s);
  EXPECT_REFUSED("\0\0"s);
  EXPECT_REFUSED("\0\0\0"s, ~kNetFeatureCtrlRx);
  EXPECT_REFUSED("\0\2\0"s, ~kNetFeatureCtrlRxExtra);
  EXPECT_TRUE(settings_.filter.promiscuous);
}
TEST_F(NetControl, Tables_Replaced) {
  EXPECT_DONE(
      "\1\0"
      "\1\0\0\0"
      "\2\0\0\0\0\7"
      "\2\0\0\0"
      "\1\0\0\0\0\1"
      "\1\0\0\0\0\2"s);
  EXPECT_TRUE(settings_.filter.unicast.Has({2, 0, 0, 0, 0, 7}));
  EXPECT_TRUE(settings_.filter.multicast.Has({1, 0, 0, 0, 0, 2}));
  EXPECT_DONE(
      "\1\0"
      "\0\0\0\0"
      "\0\0\0\0"s);
  EXPECT_FALSE(settings_.filter.unicast.Has({2, 0, 0, 0, 0, 7}));
}
TEST_F(NetControl, TableCutShort_RefusedAndNothingChanged) {
  EXPECT_DONE(
      "\1\0"
      "\1\0\0\0"
      "\2\0\0\0\0\7"
      "\0\0\0\0"s);
  EXPECT_REFUSED(
      "\1\0"
      "\0\0\0\0"
      "\2\0\0\0"
      "\1\0\0\0\0\1"s);
  EXPECT_REFUSED(
      "\1\0"
      "\xff\xff\xff\xff"s);
  EXPECT_TRUE(settings_.filter.unicast.Has({2, 0, 0, 0, 0, 7}));
}
TEST_F(NetControl, LargeTable_LetsAllPass) {
  std::string command =
      "\1\0"
      "\0\0\0\0"
      "\x60\0\0\0"s;
  for (char i = 0; i < 0x60; ++i) command += "\1\0\0\0\0"s + i;
  EXPECT_DONE(command);
  EXPECT_TRUE(settings_.filter.multicast.Has({1, 2, 3, 4, 5, 6}));
  command.pop_back();
  EXPECT_REFUSED(command);
}
TEST_F(NetControl, Address_SetUnlessAGroups) {
  EXPECT_DONE(
      "\1\1"
      "\2\0\0\0\0\x9"s);
  EXPECT_EQ(settings_.filter.own, (MacAddress{2, 0, 0, 0, 0, 9}));
  EXPECT_REFUSED(
      "\1\1"
      "\1\0\0\0\0\x9"s);
  EXPECT_REFUSED(
      "\1\1"
      "\2\0\0\0\0"s);
  EXPECT_REFUSED(
      "\1\1"
      "\2\0\0\0\0\x8"s,
      ~kNetFeatureCtrlMacAddr);
  EXPECT_EQ(settings_.filter.own, (MacAddress{2, 0, 0, 0, 0, 9}));
}
TEST_F(NetControl, Vlans_ComeAndGo) {
  EXPECT_DONE("\2\0\1\4"s);
  EXPECT_TRUE(settings_.filter.vlans[1025]);
  EXPECT_DONE("\2\1\1\4"s);
  EXPECT_FALSE(settings_.filter.vlans[1025]);
  EXPECT_REFUSED("\2\0\0\x10"s);
  EXPECT_REFUSED("\2\2\1\4"s);
  EXPECT_REFUSED("\2\0\1\4"s, ~kNetFeatureCtrlVlan);
}
TEST_F(NetControl, Pairs_WithinTheDevices) {
  EXPECT_DONE("\4\0\3\0"s);
  EXPECT_EQ(settings_.pairs, 3);
  EXPECT_REFUSED("\4\0\0\0"s);
  EXPECT_REFUSED("\4\0\5\0"s);
  EXPECT_REFUSED("\4\1\1\0"s);
  EXPECT_REFUSED("\4\0\2\0"s, ~kNetFeatureMq);
  EXPECT_EQ(settings_.pairs, 3);
}
TEST_F(NetControl, GuestOffloads_OfThoseNegotiated) {
  EXPECT_DONE("\5\0\x82\0\0\0\0\0\0\0"s);
  EXPECT_EQ(settings_.receive_offloads, net::kChecksum | net::kTso4);
  EXPECT_REFUSED("\5\0\x82\0\0\0\0\0\0\0"s, ~kNetFeatureGuestTso4);
  EXPECT_REFUSED("\5\0\1\0\0\0\0\0\0\0"s);
  EXPECT_DONE("\5\0\0\0\0\0\0\0\0\0"s);
  EXPECT_EQ(settings_.receive_offloads, 0u);
}
TEST_F(NetControl, Announcement_Acknowledged) {
  EXPECT_DONE("\3\0"s);
  EXPECT_TRUE(settings_.link_announced);
  EXPECT_REFUSED("\3\1"s);
}
TEST_F(NetControl, UnknownOrCut_Refused) {
  EXPECT_REFUSED("\x6\0\0\0"s);
  EXPECT_REFUSED("\0"s);
  EXPECT_REFUSED(""s);
}

TEST(NetSettings, WithoutChecksum_NoOffloads) {
  EXPECT_EQ(ReceiveOffloads(kNetFeatureGuestTso4), 0u);
  EXPECT_EQ(TransmitOffloads(kNetFeatureHostTso4), 0u);
  EXPECT_EQ(ReceiveOffloads(kNetFeatureGuestCsum | kNetFeatureGuestUso4), net::kChecksum);
}

}  // namespace
}  // namespace gemel::virtio
