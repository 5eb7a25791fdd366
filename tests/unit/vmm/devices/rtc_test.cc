#include "vmm/devices/rtc.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_interrupt.h"

namespace gemel {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t k2026Nov22At141502 = 1'795'356'902;  // a Sunday

class RtcTest : public ::testing::Test {
 protected:
  RtcTest() {
    clock_.realtime_ns = k2026Nov22At141502 * kSecondNs;
    loop_ = *EventLoop::Create();
    rtc_ = *Rtc::Create(loop_.get(), &irq_, &clock_);
  }
  std::uint8_t Read(std::uint8_t index) {
    rtc_->Write(0, std::array{std::byte{index}});
    std::array<std::byte, 1> data{};
    rtc_->Read(1, data);
    return std::to_integer<std::uint8_t>(data[0]);
  }
  void Write(std::uint8_t index, std::uint8_t value) {
    rtc_->Write(0, std::array{std::byte{index}});
    rtc_->Write(1, std::array{std::byte{value}});
  }
  void OneSecondPasses() {
    clock_.Advance(kSecondNs);
    rtc_->OnTimer();
  }

  testing::FakeClock clock_;
  testing::FakeInterrupt irq_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Rtc> rtc_;
};

TEST_F(RtcTest, Time_InBcd_IsTheHosts) {
  EXPECT_EQ(Read(0x00), 0x02);
  EXPECT_EQ(Read(0x02), 0x15);
  EXPECT_EQ(Read(0x04), 0x14);
  EXPECT_EQ(Read(0x06), 0x01);
  EXPECT_EQ(Read(0x07), 0x22);
  EXPECT_EQ(Read(0x08), 0x11);
  EXPECT_EQ(Read(0x09), 0x26);
  EXPECT_EQ(Read(0x32), 0x20);
}

TEST_F(RtcTest, Time_BinaryTwelveHours_CarriesTheAfternoonBit) {
  Write(0x0b, 0x04);
  EXPECT_EQ(Read(0x04), 0x80 | 2);
}

TEST_F(RtcTest, SetTime_UnderSet_TakesEffectWhenSetEnds) {
  Write(0x0b, 0x82);
  Write(0x09, 0x30);
  Write(0x00, 0x59);
  clock_.Advance(5 * kSecondNs);
  EXPECT_EQ(Read(0x00), 0x59);
  Write(0x0b, 0x02);
  clock_.Advance(2 * kSecondNs);
  EXPECT_EQ(Read(0x00), 0x01);
  EXPECT_EQ(Read(0x02), 0x16);
  EXPECT_EQ(Read(0x09), 0x30);
}

TEST_F(RtcTest, SetTime_NoTimeAtAll_IsSurvived) {
  Write(0x0b, 0x86);
  constexpr std::array<std::uint8_t, 8> kFields = {0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32};
  for (const std::uint8_t index : kFields) Write(index, 0xff);
  Write(0x0b, 0x06);
  EXPECT_LE(Read(0x08), 12);
}

TEST_F(RtcTest, UpdateInProgress_JustBeforeTheSecondEnds) {
  EXPECT_EQ(Read(0x0a) & 0x80, 0);
  clock_.Advance(kSecondNs - 1'000'000);
  EXPECT_EQ(Read(0x0a) & 0x80, 0x80);
}

TEST_F(RtcTest, Alarm_AtItsSecond_InterruptsOnce) {
  Write(0x01, 0x04);
  Write(0x03, 0x15);
  Write(0x05, 0x14);
  Write(0x0b, 0x22);
  OneSecondPasses();
  EXPECT_EQ(irq_.count(), 0);
  OneSecondPasses();
  EXPECT_EQ(irq_.count(), 1);
  EXPECT_EQ(Read(0x0c) & 0xa0, 0xa0);
  EXPECT_EQ(Read(0x0c), 0);
  OneSecondPasses();
  EXPECT_EQ(irq_.count(), 1);
}

TEST_F(RtcTest, UpdateEnded_EachSecondOnceCIsRead) {
  Write(0x0b, 0x12);
  OneSecondPasses();
  OneSecondPasses();
  EXPECT_EQ(irq_.count(), 1);
  Read(0x0c);
  OneSecondPasses();
  EXPECT_EQ(irq_.count(), 2);
}

TEST_F(RtcTest, Reset_StopsInterruptsAndKeepsTheMemory) {
  Write(0x40, 0xab);
  Write(0x0b, 0x12);
  rtc_->Reset();
  OneSecondPasses();
  EXPECT_EQ(irq_.count(), 0);
  EXPECT_EQ(Read(0x40), 0xab);
}

}  // namespace
}  // namespace gemel
