#include "vmm/pci/config_space.h"

#include <gtest/gtest.h>

#include <array>

namespace gemel::pci {
namespace {

template <class T>
T Read(const ConfigSpace& space, std::size_t offset) {
  std::array<std::byte, sizeof(T)> data;
  space.Read(offset, data);
  return LoadLe<T>(data);
}
template <class T>
void Write(ConfigSpace& space, std::size_t offset, T value) {
  std::array<std::byte, sizeof(T)> data;
  StoreLe(std::span(data), 0, value);
  space.Write(offset, data);
}

TEST(ConfigSpaceTest, NotDefined_ReadsZeroAndKeepsNothing) {
  ConfigSpace space;
  Write(space, 0x40, 0xffff'ffffu);
  EXPECT_EQ(Read<std::uint32_t>(space, 0x40), 0u);
}

TEST(ConfigSpaceTest, Write_ChangesOnlyWritableBits) {
  ConfigSpace space;
  space.Define<std::uint32_t>(0x40, 0x1234'5678, 0x0000'ff00);
  Write(space, 0x40, 0xffff'ffffu);
  EXPECT_EQ(Read<std::uint32_t>(space, 0x40), 0x1234'ff78u);
}

TEST(ConfigSpaceTest, Write_OnesToClearableBits_ClearsThem) {
  ConfigSpace space;
  space.Define<std::uint16_t>(0x40, 0x00ff, 0, 0x000f);
  Write<std::uint16_t>(space, 0x40, 0x0035);
  EXPECT_EQ(Read<std::uint16_t>(space, 0x40), 0x00fa);
}

TEST(ConfigSpaceTest, Write_ByteOfARegister_LeavesTheOthers) {
  ConfigSpace space;
  space.Define<std::uint32_t>(0x40, 0, 0xffff'ffff);
  Write<std::uint8_t>(space, 0x42, 0xab);
  EXPECT_EQ(Read<std::uint32_t>(space, 0x40), 0x00ab'0000u);
}

TEST(ConfigSpaceTest, Access_Unaligned_IsBytes) {
  ConfigSpace space;
  space.Define<std::uint32_t>(0x40, 0, 0xffff'ffff);
  space.Define<std::uint32_t>(0x44, 0, 0xffff'ffff);
  Write<std::uint32_t>(space, 0x43, 0x1122'3344);
  EXPECT_EQ(Read<std::uint32_t>(space, 0x40), 0x4400'0000u);
  EXPECT_EQ(Read<std::uint32_t>(space, 0x44), 0x0011'2233u);
  EXPECT_EQ(Read<std::uint16_t>(space, 0x43), 0x3344);
}

TEST(ConfigSpaceTest, ExtendedPart_IsEmptyAndTakesNothing) {
  ConfigSpace space;
  space.Define<std::uint32_t>(0xfc, 0, 0xffff'ffff);
  Write<std::uint32_t>(space, 0x100, 0xffff'ffff);
  EXPECT_EQ(Read<std::uint32_t>(space, 0x100), 0u);
  EXPECT_EQ(Read<std::uint32_t>(space, 0xffc), 0u);
  Write<std::uint32_t>(space, 0xfe, 0x1234'5678);
  EXPECT_EQ(Read<std::uint32_t>(space, 0xfe), 0x5678u);
}

TEST(ConfigSpaceTest, Reset_BringsDefinedValuesBack) {
  ConfigSpace space;
  space.Define<std::uint16_t>(0x40, 7, 0xffff);
  Write<std::uint16_t>(space, 0x40, 9);
  space.Set<std::uint16_t>(0x42, 3);
  space.Reset();
  EXPECT_EQ(Read<std::uint32_t>(space, 0x40), 7u);
}

}  // namespace
}  // namespace gemel::pci
