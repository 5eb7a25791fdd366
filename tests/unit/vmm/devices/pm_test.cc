#include "vmm/devices/pm.h"

#include <gtest/gtest.h>

#include <array>

#include "base/load_le.h"
#include "tests/fakes/fake_irq_lines.h"
#include "tests/fakes/fake_machine_events.h"

namespace gemel {
namespace {

constexpr std::uint16_t kPowerButton = 1 << 8;
constexpr std::uint16_t kSleepButton = 1 << 9;
constexpr std::uint32_t kSci = 9;

class PowerManagementTest : public ::testing::Test {
 protected:
  std::uint16_t Read16(std::uint64_t offset) {
    std::array<std::byte, 2> data{};
    pm_.Read(offset, data);
    return LoadLe16(data);
  }
  void Write16(std::uint64_t offset, std::uint16_t value) {
    std::array<std::byte, 2> data{};
    StoreLe(data, 0, value);
    pm_.Write(offset, data);
  }

  bool sci() const { return lines_.up().contains(kSci); }

  testing::FakeIrqLines lines_;
  testing::FakeMachineEvents events_;
  PowerManagement pm_{
      {.lines = &lines_, .sci = kSci, .events = &events_, .s5 = 5, .sleep_button = true}};
};

TEST_F(PowerManagementTest, PowerButton_Enabled_RaisesTheSci) {
  Write16(2, kPowerButton);
  pm_.PressPowerButton();
  EXPECT_TRUE(sci());
  EXPECT_EQ(Read16(0), kPowerButton);
}

TEST_F(PowerManagementTest, PowerButton_NotEnabled_WaitsUntilItIs) {
  pm_.PressPowerButton();
  EXPECT_FALSE(sci());
  Write16(2, kPowerButton);
  EXPECT_TRUE(sci());
}

TEST_F(PowerManagementTest, Status_WrittenOne_IsClearedAndLetsGoOfTheSci) {
  Write16(2, kPowerButton);
  pm_.PressPowerButton();
  Write16(0, kPowerButton);
  EXPECT_EQ(Read16(0), 0u);
  EXPECT_FALSE(sci());
}

// A press while the SCI of the one before was in service used to be lost: its edge came while the
// IOAPIC held the line for done. A level stays until it is seen.
TEST_F(PowerManagementTest, PressWhileTheOneBeforeIsInService_HoldsTheSciUp) {
  Write16(2, kPowerButton);
  pm_.PressPowerButton();
  Write16(0, kPowerButton);  // the handler has taken the first one, and has not ended yet
  pm_.PressPowerButton();
  EXPECT_TRUE(sci());
  EXPECT_EQ(Read16(0), kPowerButton);
}

TEST_F(PowerManagementTest, OneOfTwoButtonsCleared_HoldsTheSciUp) {
  Write16(2, kPowerButton | kSleepButton);
  pm_.PressPowerButton();
  pm_.PressSleepButton();
  Write16(0, kPowerButton);
  EXPECT_EQ(Read16(0), kSleepButton);
  EXPECT_TRUE(sci());
}

TEST_F(PowerManagementTest, SleepButtonThatIsNotThere_DoesNothing) {
  PowerManagement none({.lines = &lines_, .sci = kSci, .events = &events_});
  std::array<std::byte, 2> enable{std::byte{0}, std::byte{kSleepButton >> 8}};
  none.Write(2, enable);
  none.PressSleepButton();
  EXPECT_FALSE(sci());
  none.Read(2, enable);
  EXPECT_EQ(LoadLe16(enable), 0u);
}

// Linux writes them and logs an error unless they read back.
TEST_F(PowerManagementTest, GlobalLockAndRtcEnable_ReadBack) {
  Write16(2, 1 << 5 | 1 << 10);
  EXPECT_EQ(Read16(2), 1 << 5 | 1 << 10);
}

TEST_F(PowerManagementTest, Control_ReadsSciEnabled) { EXPECT_EQ(Read16(4), 1u); }

TEST_F(PowerManagementTest, SleepEnableWithS5_PowersOff) {
  Write16(4, 1 << 13 | 5 << 10);
  EXPECT_EQ(events_.power_offs, 1);
}

TEST_F(PowerManagementTest, SleepEnableWithAnotherType_DoesNothing) {
  Write16(4, 1 << 13 | 1 << 10);
  EXPECT_EQ(events_.power_offs, 0);
}

TEST_F(PowerManagementTest, SleepTypeWithoutEnable_DoesNothing) {
  Write16(4, 5 << 10);
  EXPECT_EQ(events_.power_offs, 0);
}

TEST_F(PowerManagementTest, SleepEnableByByteAfterTheType_PowersOff) {
  Write16(4, 5 << 10);
  pm_.Write(5, std::array{std::byte{1 << 5 | 5 << 2}});
  EXPECT_EQ(events_.power_offs, 1);
}

TEST_F(PowerManagementTest, Read_AcrossTheWholeBlock_GivesBothRegisters) {
  Write16(2, kPowerButton);
  std::array<std::byte, 4> data{};
  pm_.Read(0, data);
  EXPECT_EQ(LoadLe32(data), std::uint32_t{kPowerButton} << 16);
}

TEST_F(PowerManagementTest, Reset_LetsGoOfTheSci) {
  Write16(2, kPowerButton);
  pm_.PressPowerButton();
  pm_.Reset();
  EXPECT_FALSE(sci());
}

TEST_F(PowerManagementTest, Reset_ForgetsTheButton) {
  pm_.PressPowerButton();
  pm_.Reset();
  Write16(2, kPowerButton);
  EXPECT_FALSE(sci());
}

}  // namespace
}  // namespace gemel
