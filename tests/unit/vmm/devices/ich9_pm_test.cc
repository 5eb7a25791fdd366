#include "vmm/devices/ich9_pm.h"

#include <gtest/gtest.h>

#include <array>

#include "base/load_le.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_irq_lines.h"
#include "tests/fakes/fake_machine_events.h"

namespace gemel {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

class Ich9PmTest : public ::testing::Test {
 protected:
  std::uint64_t Read(std::uint64_t offset, std::size_t width) {
    std::array<std::byte, 8> data{};
    pm_.Read(offset, std::span(data).first(width));
    return LoadLe64(data);
  }
  void Write(std::uint64_t offset, std::uint32_t value, std::size_t width) {
    std::array<std::byte, 4> data{};
    StoreLe(data, 0, value);
    pm_.Write(offset, std::span(data).first(width));
  }

  testing::FakeClock clock_;
  testing::FakeIrqLines lines_;
  testing::FakeMachineEvents events_;
  Ich9Pm pm_{{.lines = &lines_, .sci = 9, .events = &events_, .s5 = 0, .sleep_button = true},
             &clock_};
};

TEST_F(Ich9PmTest, Timer_CountsAtItsRate) {
  EXPECT_EQ(Read(8, 4), 0u);
  clock_.Advance(kSecond);
  EXPECT_EQ(Read(8, 4), 3'579'545u);
}

TEST_F(Ich9PmTest, Timer_WrapsAfter24Bits) {
  clock_.Advance(5 * kSecond);
  EXPECT_EQ(Read(8, 4), (5u * 3'579'545u) & 0xffffff);
}

TEST_F(Ich9PmTest, TimerAfterAYear_StillCounts) {
  clock_.Advance(365 * 86400 * kSecond);
  const std::uint64_t ticks = 365ull * 86400 * 3'579'545;
  EXPECT_EQ(Read(8, 4), ticks & 0xffffff);
}

TEST_F(Ich9PmTest, Timer_ByBytes_IsTheSame) {
  clock_.Advance(kSecond);
  EXPECT_EQ(Read(8, 1) | Read(9, 1) << 8 | Read(10, 2) << 16, 3'579'545u);
}

TEST_F(Ich9PmTest, Carry_SetsTmrStsUntilItIsCleared) {
  EXPECT_EQ(Read(0, 2), 0u);
  clock_.Advance(3 * kSecond);  // 2^23 ticks are 2.34 s
  EXPECT_EQ(Read(0, 2), 1u);
  Write(0, 1, 2);
  EXPECT_EQ(Read(0, 2), 0u);
  clock_.Advance(3 * kSecond);
  EXPECT_EQ(Read(0, 2), 1u);
}

TEST_F(Ich9PmTest, S5_IsSleepType0) {
  Write(4, 1 << 13, 2);
  EXPECT_EQ(events_.power_offs, 1);
}

TEST_F(Ich9PmTest, Control_As32Bits_HasAnUpperHalfOfZero) { EXPECT_EQ(Read(4, 4), 1u); }

TEST_F(Ich9PmTest, Gpe0Enable_IsKept_AndItsStatusIs0) {
  Write(0x20, 0xffffffff, 4);
  Write(0x28, 0x12345678, 4);
  EXPECT_EQ(Read(0x20, 8), 0u);
  EXPECT_EQ(Read(0x28, 8), 0x12345678u);
}

TEST_F(Ich9PmTest, OtherRegisters_ReadZero) {
  Write(0x30, 0xffffffff, 4);
  EXPECT_EQ(Read(0x30, 8), 0u);
  EXPECT_EQ(Read(0x60, 4), 0u);
  EXPECT_EQ(Read(0x7f, 1), 0u);
}

TEST_F(Ich9PmTest, Reset_StartsTheTimerAnew) {
  clock_.Advance(3 * kSecond);
  Write(0x28, 1, 1);
  pm_.Reset();
  EXPECT_EQ(Read(8, 4), 0u);
  EXPECT_EQ(Read(0, 2), 0u);
  EXPECT_EQ(Read(0x28, 1), 0u);
}

}  // namespace
}  // namespace gemel
