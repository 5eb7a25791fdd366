#include "vmm/bus/io_bus.h"

#include <gtest/gtest.h>

#include <array>

#include "base/load_le.h"

namespace gemel {
namespace {

class Recorder : public IoHandler {
 public:
  std::string_view name() const override { return "recorder"; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override {
    last_offset = offset;
    StoreRegister(data, 0xab);
  }
  void Write(std::uint64_t offset, std::span<const std::byte> data) override {
    last_offset = offset;
    last_written = LoadRegister(data);
  }
  std::uint64_t last_offset = ~0ull;
  std::uint64_t last_written = 0;
};

TEST(IoBusTest, Write_InARange_ReachesTheHandlerWithItsOffset) {
  IoBus bus;
  Recorder device;
  ASSERT_TRUE(bus.Map(0x3f8, 8, &device).has_value());
  EXPECT_TRUE(bus.Write(0x3fd, std::array{std::byte{0x55}}));
  EXPECT_EQ(device.last_offset, 5u);
  EXPECT_EQ(device.last_written, 0x55u);
}

TEST(IoBusTest, Read_WhereNothingIs_GivesOnes) {
  const IoBus bus;
  std::array<std::byte, 2> data{};
  EXPECT_FALSE(bus.Read(0x1234, data));
  EXPECT_EQ(LoadLe16(data), 0xffff);
}

TEST(IoBusTest, Read_ThatStraddlesTheEnd_ReachesNobody) {
  IoBus bus;
  Recorder device;
  ASSERT_TRUE(bus.Map(0x100, 4, &device).has_value());
  std::array<std::byte, 4> data{};
  EXPECT_FALSE(bus.Read(0x102, data));
  EXPECT_EQ(device.last_offset, ~0ull);
}

TEST(IoBusTest, Map_Overlap_NamesBoth) {
  IoBus bus;
  Recorder device;
  ASSERT_TRUE(bus.Map(0x100, 0x10, &device).has_value());
  const auto status = bus.Map(0x10f, 1, &device);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, Code::kAlreadyExists);
  EXPECT_EQ(status.error().message, "recorder at 0x10f+0x1 overlaps recorder at 0x100+0x10");
}

TEST(IoBusTest, Map_NeighboursOnBothSides_Fit) {
  IoBus bus;
  Recorder device;
  ASSERT_TRUE(bus.Map(0x100, 0x10, &device).has_value());
  EXPECT_TRUE(bus.Map(0x110, 0x10, &device).has_value());
  EXPECT_TRUE(bus.Map(0xf0, 0x10, &device).has_value());
}

TEST(IoBusTest, Map_RangeThatWraps_IsRefused) {
  IoBus bus;
  Recorder device;
  EXPECT_FALSE(bus.Map(UINT64_MAX, 2, &device).has_value());
}

}  // namespace
}  // namespace gemel
