#include "vmm/devices/pm.h"

#include <gtest/gtest.h>

#include <array>

#include "base/load_le.h"
#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/fake_machine_events.h"

namespace gemel {
namespace {

constexpr std::uint16_t kPowerButton = 1 << 8;

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

  testing::FakeInterrupt sci_;
  testing::FakeMachineEvents events_;
  PowerManagement pm_{&sci_, &events_};
};

TEST_F(PowerManagementTest, PowerButton_Enabled_RaisesTheSci) {
  Write16(2, kPowerButton);
  pm_.PressPowerButton();
  EXPECT_EQ(sci_.count(), 1);
  EXPECT_EQ(Read16(0), kPowerButton);
}

TEST_F(PowerManagementTest, PowerButton_NotEnabled_WaitsUntilItIs) {
  pm_.PressPowerButton();
  EXPECT_EQ(sci_.count(), 0);
  Write16(2, kPowerButton);
  EXPECT_EQ(sci_.count(), 1);
}

TEST_F(PowerManagementTest, Status_WrittenOne_IsClearedAndTheNextPressInterruptsAgain) {
  Write16(2, kPowerButton);
  pm_.PressPowerButton();
  Write16(0, kPowerButton);
  EXPECT_EQ(Read16(0), 0u);
  pm_.PressPowerButton();
  EXPECT_EQ(sci_.count(), 2);
}

// Linux writes them and logs an error unless they read back.
TEST_F(PowerManagementTest, GlobalLockAndRtcEnable_ReadBack) {
  Write16(2, 1 << 5 | 1 << 10);
  EXPECT_EQ(Read16(2), 1 << 5 | 1 << 10);
}

TEST_F(PowerManagementTest, Control_ReadsSciEnabled) { EXPECT_EQ(Read16(4), 1u); }

TEST_F(PowerManagementTest, SleepEnableWithS5_PowersOff) {
  Write16(4, 1 << 13 | PowerManagement::kSleepTypeS5 << 10);
  EXPECT_EQ(events_.power_offs, 1);
}

TEST_F(PowerManagementTest, SleepEnableWithAnotherType_DoesNothing) {
  Write16(4, 1 << 13 | 1 << 10);
  EXPECT_EQ(events_.power_offs, 0);
}

TEST_F(PowerManagementTest, SleepTypeWithoutEnable_DoesNothing) {
  Write16(4, PowerManagement::kSleepTypeS5 << 10);
  EXPECT_EQ(events_.power_offs, 0);
}

TEST_F(PowerManagementTest, SleepEnableByByteAfterTheType_PowersOff) {
  Write16(4, PowerManagement::kSleepTypeS5 << 10);
  pm_.Write(5, std::array{std::byte{1 << 5 | PowerManagement::kSleepTypeS5 << 2}});
  EXPECT_EQ(events_.power_offs, 1);
}

TEST_F(PowerManagementTest, Read_AcrossTheWholeBlock_GivesBothRegisters) {
  Write16(2, kPowerButton);
  std::array<std::byte, 4> data{};
  pm_.Read(0, data);
  EXPECT_EQ(LoadLe32(data), std::uint32_t{kPowerButton} << 16);
}

TEST_F(PowerManagementTest, Reset_ForgetsTheButton) {
  pm_.PressPowerButton();
  pm_.Reset();
  Write16(2, kPowerButton);
  EXPECT_EQ(sci_.count(), 0);
}

}  // namespace
}  // namespace gemel
