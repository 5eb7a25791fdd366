#include "vmm/arch/x86/memory_map.h"

#include <gtest/gtest.h>

namespace gemel {
namespace {

constexpr std::uint64_t kGiB = 1ull << 30;

TEST(MicroRamTest, ThreeGiB_IsOneRange) {
  const auto ranges = x86::MicroRam(3 * kGiB);
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_EQ(ranges[0].start.value, 0u);
  EXPECT_EQ(ranges[0].size, 3 * kGiB);
}

TEST(MicroRamTest, MoreThanThreeGiB_GoesOnAbove4GiB) {
  const auto ranges = x86::MicroRam(3 * kGiB + (1 << 20));
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[0].size, 3 * kGiB);
  EXPECT_EQ(ranges[1].start.value, 4 * kGiB);
  EXPECT_EQ(ranges[1].size, 1u << 20);
}

TEST(MemoryMapTest, Server_EndsAt2GiBAndGoesOnAt4) {
  EXPECT_EQ(x86::ServerRam(2ull << 30).size(), 1u);
  const auto ranges = x86::ServerRam(5ull << 30);
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[0].size, 2ull << 30);
  EXPECT_EQ(ranges[1].start.value, 4ull << 30);
  EXPECT_EQ(ranges[1].size, 3ull << 30);
}

TEST(MemoryMapTest, PciMemoryAbove4GiB_BeginsBehindRam) {
  EXPECT_EQ(x86::PciMemory64(1ull << 30), 32ull << 30);
  EXPECT_EQ(x86::PciMemory64(30ull << 30), 32ull << 30);
  EXPECT_EQ(x86::PciMemory64((30ull << 30) + (1 << 20)), 64ull << 30);
}

}  // namespace
}  // namespace gemel
