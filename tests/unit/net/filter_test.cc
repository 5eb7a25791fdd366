#include <gtest/gtest.h>

#include <vector>

#include "net/frame_header.h"
#include "net/rx_filter.h"

namespace gemel::net {
namespace {

constexpr MacAddress kOwn = {2, 0, 0, 0, 0, 1};
constexpr MacAddress kOther = {2, 0, 0, 0, 0, 2};
constexpr MacAddress kGroup = {0x33, 0x33, 0, 0, 0, 1};
constexpr MacAddress kAll = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

std::vector<std::byte> FrameTo(const MacAddress& to, int vlan = -1) {
  std::vector<std::byte> frame(RxFilter::kFrontBytes);
  for (std::size_t i = 0; i < to.size(); ++i) frame[i] = std::byte{to[i]};
  if (vlan < 0) return frame;
  frame[12] = std::byte{0x81};
  frame[14] = static_cast<std::byte>(0xe0 | vlan >> 8);  // priority 7
  frame[15] = static_cast<std::byte>(vlan);
  return frame;
}

RxFilter Strict() {
  RxFilter filter;
  filter.promiscuous = false;
  filter.own = kOwn;
  return filter;
}

TEST(RxFilter, FreshOne_LetsAllPass) { EXPECT_TRUE(RxFilter().Accepts(FrameTo(kOther, 7))); }
TEST(RxFilter, Strict_OwnAndBroadcastAlone) {
  const RxFilter filter = Strict();
  EXPECT_TRUE(filter.Accepts(FrameTo(kOwn)));
  EXPECT_TRUE(filter.Accepts(FrameTo(kAll)));
  EXPECT_FALSE(filter.Accepts(FrameTo(kOther)));
  EXPECT_FALSE(filter.Accepts(FrameTo(kGroup)));
}
TEST(RxFilter, Tables_Pass) {
  RxFilter filter = Strict();
  filter.unicast.Add(kOther);
  filter.multicast.Add(kGroup);
  EXPECT_TRUE(filter.Accepts(FrameTo(kOther)));
  EXPECT_TRUE(filter.Accepts(FrameTo(kGroup)));
}
TEST(RxFilter, TableThatOverflows_LetsItsKindPass) {
  RxFilter filter = Strict();
  for (std::uint8_t i = 0; i < MacTable::kSize; ++i) filter.multicast.Add({1, 0, 0, 0, 0, i});
  EXPECT_FALSE(filter.Accepts(FrameTo(kGroup)));
  filter.multicast.Add({1, 0, 0, 0, 1, 0});
  EXPECT_TRUE(filter.Accepts(FrameTo(kGroup)));
  EXPECT_FALSE(filter.Accepts(FrameTo(kOther)));
}
TEST(RxFilter, Modes_AddAndTakeAway) {
  RxFilter filter = Strict();
  filter.all_multicast = filter.all_unicast = true;
  EXPECT_TRUE(filter.Accepts(FrameTo(kGroup)));
  EXPECT_TRUE(filter.Accepts(FrameTo(kOther)));
  filter.no_multicast = filter.no_unicast = filter.no_broadcast = true;
  EXPECT_FALSE(filter.Accepts(FrameTo(kGroup)));
  EXPECT_FALSE(filter.Accepts(FrameTo(kOwn)));
  EXPECT_FALSE(filter.Accepts(FrameTo(kAll)));
}
TEST(RxFilter, Vlans_OnlyThoseAdded) {
  RxFilter filter = Strict();
  filter.vlan_filtering = true;
  filter.vlans[1025] = true;
  EXPECT_TRUE(filter.Accepts(FrameTo(kOwn)));
  EXPECT_TRUE(filter.Accepts(FrameTo(kOwn, 1025)));
  EXPECT_FALSE(filter.Accepts(FrameTo(kOwn, 1)));
  EXPECT_TRUE(filter.Accepts(FrameTo(kOwn, 0)));  // a priority
}
TEST(RxFilter, FrameWithoutAddresses_IsRefused) {
  const std::vector<std::byte> frame(13);
  EXPECT_FALSE(RxFilter().Accepts(frame));
}

constexpr Offloads kEverything = kChecksum | kTso4 | kTso6 | kTsoEcn | kUfo | kUso;

TEST(TransmitHeader, Plain_PassesAndLosesWhatMeansNothing) {
  FrameHeader header{kFlagDataValid, kGsoNone, 1, 2, 3, 4, 5};
  EXPECT_TRUE(CheckTransmitHeader(header, 60, 0));
  EXPECT_EQ(header.flags, 0);
  EXPECT_EQ(header.gso_size, 0);
  EXPECT_EQ(header.csum_start, 0);
  EXPECT_EQ(header.num_buffers, 0);
}
TEST(TransmitHeader, FrameSizes_HaveBounds) {
  FrameHeader header{};
  EXPECT_FALSE(CheckTransmitHeader(header, 13, 0));
  EXPECT_TRUE(CheckTransmitHeader(header, 14, 0));
  EXPECT_TRUE(CheckTransmitHeader(header, kMaxFrameBytes, 0));
  EXPECT_FALSE(CheckTransmitHeader(header, kMaxFrameBytes + 1, 0));
}
TEST(TransmitHeader, Checksum_OnlyInsideTheFrameAndIfAllowed) {
  FrameHeader header{kFlagNeedsChecksum, kGsoNone, 0, 0, 34, 16, 0};
  EXPECT_TRUE(CheckTransmitHeader(header, 52, kEverything));
  EXPECT_FALSE(CheckTransmitHeader(header, 51, kEverything));
  EXPECT_FALSE(CheckTransmitHeader(header, 52, 0));
  header.csum_start = header.csum_offset = 0xffff;
  EXPECT_FALSE(CheckTransmitHeader(header, kMaxFrameBytes, kEverything));
}
TEST(TransmitHeader, Segmentation_OnlyKnownTypesThatAreAllowed) {
  const auto passes = [](std::uint8_t type, Offloads allowed) {
    FrameHeader header{kFlagNeedsChecksum, type, 54, 1448, 34, 16, 0};
    return CheckTransmitHeader(header, 9000, allowed | kChecksum);
  };
  EXPECT_TRUE(passes(kGsoTcp4, kTso4));
  EXPECT_FALSE(passes(kGsoTcp4, kTso6));
  EXPECT_TRUE(passes(kGsoTcp6, kTso6));
  EXPECT_FALSE(passes(kGsoTcp4 | kGsoEcn, kTso4));
  EXPECT_TRUE(passes(kGsoTcp4 | kGsoEcn, kTso4 | kTsoEcn));
  EXPECT_TRUE(passes(kGsoUdp, kUfo));
  EXPECT_TRUE(passes(kGsoUdpL4, kUso));
  EXPECT_FALSE(passes(2, kEverything));
  EXPECT_FALSE(passes(kGsoUdp | kGsoEcn, kEverything));
  EXPECT_FALSE(passes(kGsoEcn, kEverything));
}
TEST(TransmitHeader, SegmentsOfNothing_AreRefused) {
  FrameHeader header{kFlagNeedsChecksum, kGsoTcp4, 54, 0, 34, 16, 0};
  EXPECT_FALSE(CheckTransmitHeader(header, 9000, kEverything));
}

}  // namespace
}  // namespace gemel::net
