#include "vmm/bus/io_bus.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>

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

TEST(IoBusTest, TryMap_Overlap_ChangesNothing) {
  IoBus bus;
  Recorder device, other;
  ASSERT_TRUE(bus.TryMap(0x100, 0x10, &device));
  EXPECT_FALSE(bus.TryMap(0x10f, 1, &other));
  EXPECT_FALSE(bus.TryMap(0xff, 2, &other));
  EXPECT_FALSE(bus.TryMap(0, 0x1000, &other));
  EXPECT_FALSE(bus.TryMap(UINT64_MAX, 2, &other));
  EXPECT_FALSE(bus.TryMap(0x200, 0, &other));
  EXPECT_TRUE(bus.TryMap(UINT64_MAX, 1, &other));
}

TEST(IoBusTest, Unmap_LeavesTheOthers) {
  IoBus bus;
  Recorder device, other;
  ASSERT_TRUE(bus.TryMap(0x100, 0x10, &device));
  ASSERT_TRUE(bus.TryMap(0x110, 0x10, &other));
  EXPECT_FALSE(bus.Unmap(0x101));
  EXPECT_TRUE(bus.Unmap(0x100));
  EXPECT_FALSE(bus.Unmap(0x100));
  std::array<std::byte, 1> data{};
  EXPECT_FALSE(bus.Read(0x100, data));
  EXPECT_TRUE(bus.Read(0x110, data));
}

TEST(IoBusTest, Map_MoreThanTheTableHolds_FindsEachOfThem) {
  IoBus bus;
  Recorder device;
  for (std::uint64_t i = 0; i < 1000; ++i) ASSERT_TRUE(bus.TryMap(i * 0x10, 0x10, &device));
  std::array<std::byte, 1> data{};
  for (std::uint64_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(bus.Read(i * 0x10 + 3, data));
    ASSERT_EQ(device.last_offset, 3u);
  }
  EXPECT_FALSE(bus.Read(0x10 * 1000, data));
}

class Remapper : public IoHandler {
 public:
  explicit Remapper(IoBus* bus) : bus_(bus) {}
  std::string_view name() const override { return "remapper"; }
  void Read(std::uint64_t, std::span<std::byte> data) override { StoreRegister(data, 1); }
  void Write(std::uint64_t, std::span<const std::byte>) override {
    bus_->Unmap(0x100);
    bus_->TryMap(0x200, 1, this);
  }

 private:
  IoBus* const bus_;
};

TEST(IoBusTest, Unmap_FromWithinTheHandler_Works) {
  IoBus bus;
  Remapper device(&bus);
  ASSERT_TRUE(bus.TryMap(0x100, 1, &device));
  EXPECT_TRUE(bus.Write(0x100, std::array{std::byte{0}}));
  EXPECT_FALSE(bus.Write(0x100, std::array{std::byte{0}}));
  std::array<std::byte, 1> data{};
  EXPECT_TRUE(bus.Read(0x200, data));
}

class Constant : public IoHandler {
 public:
  explicit Constant(std::uint8_t value) : value_(value) {}
  std::string_view name() const override { return "constant"; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override {
    StoreRegister(data, value_ + offset);
  }
  void Write(std::uint64_t, std::span<const std::byte>) override {}

 private:
  const std::uint8_t value_;
};

// One range moves to and fro below one that stays, so that the index of the latter changes with
// every move.
TEST(IoBusTest, Read_WhileAnotherThreadRemaps_FindsWhatStaysAndNothingElse) {
  IoBus bus;
  Constant moving(0x10), fixed(0x20);
  ASSERT_TRUE(bus.TryMap(0x9000, 0x10, &fixed));
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int i = 0; i < 20'000; ++i) {
      bus.TryMap(0x1000, 0x10, &moving);
      bus.TryMap(0x2000, 0x10, &moving);
      bus.Unmap(0x1000);
      bus.Unmap(0x2000);
    }
    done = true;
  });
  int wrong = 0;
  while (!done) {
    std::array<std::byte, 1> data{};
    if (!bus.Read(0x9001, data) || data[0] != std::byte{0x21}) ++wrong;
    if (bus.Read(0x1002, data) && data[0] != std::byte{0x12}) ++wrong;
    if (bus.Read(0x8000, data)) ++wrong;
  }
  writer.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace gemel
