// The two ways a guest resets the machine by a port.
#include <gtest/gtest.h>

#include <array>

#include "tests/fakes/fake_machine_events.h"
#include "vmm/devices/i8042.h"
#include "vmm/devices/reset_port.h"

namespace gemel {
namespace {

std::uint8_t ReadByte(IoHandler& chip, std::uint64_t offset) {
  std::array<std::byte, 1> data{};
  chip.Read(offset, data);
  return std::to_integer<std::uint8_t>(data[0]);
}

TEST(ResetPortTest, FadtValue_Resets) {
  testing::FakeMachineEvents events;
  ResetPort port(&events);
  port.Write(0, std::array{std::byte{ResetPort::kResetValue}});
  EXPECT_EQ(events.resets, 1);
}

TEST(ResetPortTest, TypeWithoutCpuBit_IsKeptAndDoesNothing) {
  testing::FakeMachineEvents events;
  ResetPort port(&events);
  port.Write(0, std::array{std::byte{0x02}});
  EXPECT_EQ(events.resets, 0);
  EXPECT_EQ(ReadByte(port, 0), 0x02);
}

TEST(I8042Test, PulseResetLine_Resets) {
  testing::FakeMachineEvents events;
  I8042 chip(&events);
  chip.Write(4, std::array{std::byte{0xfe}});
  EXPECT_EQ(events.resets, 1);
}

TEST(I8042Test, OtherCommandsAndData_DoNothing) {
  testing::FakeMachineEvents events;
  I8042 chip(&events);
  chip.Write(4, std::array{std::byte{0xd1}});
  chip.Write(0, std::array{std::byte{0xfe}});
  EXPECT_EQ(events.resets, 0);
}

TEST(I8042Test, Status_LooksAbsentButNeverBusy) {
  testing::FakeMachineEvents events;
  I8042 chip(&events);
  EXPECT_EQ(ReadByte(chip, 4), 0x01);
}

}  // namespace
}  // namespace gemel
