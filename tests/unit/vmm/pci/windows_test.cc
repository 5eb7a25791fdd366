#include "vmm/pci/windows.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/pci/test_function.h"

namespace gemel::pci {
namespace {

class Log : public Windows::Observer {
 public:
  void OnMapped(std::uint64_t base) override { at = base; }
  void OnUnmapped(std::uint64_t base) override {
    EXPECT_EQ(at, base);
    at = 0;
  }
  std::uint64_t at = 0;
};

class WindowsTest : public ::testing::Test {
 protected:
  std::uint8_t At(std::uint64_t address) { return TestRoot::Peek(bus_, address); }

  IoBus bus_;
  NumberHandler one_{1}, two_{2};
  Log log_one_, log_two_;
  Windows windows_;
  Windows::Window* const first_ = windows_.Add(&bus_, &one_, &log_one_);
  Windows::Window* const second_ = windows_.Add(&bus_, &two_, &log_two_);
};

TEST_F(WindowsTest, Place_PutsItOnTheBus) {
  windows_.Place(first_, 0x1000, 0x100);
  EXPECT_EQ(At(0x1000), 1);
  EXPECT_EQ(At(0x1100), 0xff);
  EXPECT_EQ(log_one_.at, 0x1000u);
}

TEST_F(WindowsTest, Place_Elsewhere_LeavesTheOldPlace) {
  windows_.Place(first_, 0x1000, 0x100);
  windows_.Place(first_, 0x3000, 0x100);
  EXPECT_EQ(At(0x1000), 0xff);
  EXPECT_EQ(At(0x3000), 1);
  EXPECT_EQ(log_one_.at, 0x3000u);
}

TEST_F(WindowsTest, Place_OverlappingItself_Moves) {
  windows_.Place(first_, 0x1000, 0x1000);
  windows_.Place(first_, 0x1800, 0x1000);
  EXPECT_EQ(At(0x1000), 0xff);
  EXPECT_EQ(At(0x27ff), 1);
}

TEST_F(WindowsTest, Place_OnAnother_WaitsUntilThatIsGone) {
  windows_.Place(first_, 0x1000, 0x100);
  windows_.Place(second_, 0x1080, 0x100);
  EXPECT_EQ(At(0x1080), 1);
  EXPECT_EQ(At(0x1100), 0xff);
  EXPECT_FALSE(Windows::IsMapped(second_));
  windows_.Hide(first_);
  EXPECT_EQ(At(0x1080), 2);
  EXPECT_EQ(log_two_.at, 0x1080u);
}

TEST_F(WindowsTest, Place_OnSomethingFixed_IsNotThere) {
  NumberHandler fixed(3);
  ASSERT_TRUE(bus_.Map(0x1010, 0x10, &fixed).has_value());
  windows_.Place(first_, 0x1000, 0x100);
  EXPECT_EQ(At(0x1010), 3);
  EXPECT_EQ(At(0x1000), 0xff);
  EXPECT_EQ(log_one_.at, 0u);
}

TEST_F(WindowsTest, Swap_ThroughAConflict_EndsWithBoth) {
  windows_.Place(first_, 0x1000, 0x100);
  windows_.Place(second_, 0x2000, 0x100);
  windows_.Place(first_, 0x2000, 0x100);
  windows_.Place(second_, 0x1000, 0x100);
  EXPECT_EQ(At(0x1000), 2);
  EXPECT_EQ(At(0x2000), 1);
}

TEST_F(WindowsTest, Place_RangeThatWraps_IsNotThere) {
  windows_.Place(first_, UINT64_MAX - 0xff, 0x1000);
  EXPECT_FALSE(Windows::IsMapped(first_));
}

TEST_F(WindowsTest, Remove_FreesThePlace) {
  windows_.Place(first_, 0x1000, 0x100);
  windows_.Place(second_, 0x1000, 0x100);
  windows_.Remove(first_);
  EXPECT_EQ(At(0x1000), 2);
}

TEST_F(WindowsTest, Place_ThousandsOfTimes_LeavesOne) {
  for (std::uint64_t i = 1; i < 5000; ++i) windows_.Place(first_, i * 0x100, 0x100);
  EXPECT_EQ(At(4999 * 0x100), 1);
  EXPECT_EQ(At(4998 * 0x100), 0xff);
}

TEST(WindowsOrderTest, Destructor_LeavesNothingOnTheBus) {
  IoBus bus;
  NumberHandler handler(1);
  {
    Windows windows;
    windows.Place(windows.Add(&bus, &handler, nullptr), 0x1000, 0x100);
  }
  EXPECT_EQ(TestRoot::Peek(bus, 0x1000), 0xff);
}

}  // namespace
}  // namespace gemel::pci
