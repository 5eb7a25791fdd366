#include "vmm/memory/guest_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <vector>

namespace gemel {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

// Two regions that touch at 1 MiB, and one beyond a hole.
std::unique_ptr<GuestMemory> TouchingRegionsAndAHole(
    MemoryBacking backing = MemoryBacking::kAnonymous) {
  const std::array<MemoryRange, 3> ranges = {
      {{GuestAddress{0}, kMiB}, {GuestAddress{kMiB}, kMiB}, {GuestAddress{4 * kMiB}, kMiB}}};
  auto memory = GuestMemory::Create(ranges, backing);
  EXPECT_TRUE(memory.has_value());
  return std::move(*memory);
}

TEST(GuestMemoryTest, Create_OverlappingRanges_IsRefused) {
  const std::array<MemoryRange, 2> ranges = {
      {{GuestAddress{0}, 2 * kMiB}, {GuestAddress{kMiB}, kMiB}}};
  const auto memory = GuestMemory::Create(ranges, MemoryBacking::kAnonymous);
  ASSERT_FALSE(memory.has_value());
  EXPECT_EQ(memory.error().code, Code::kInvalidArgument);
}

TEST(GuestMemoryTest, Create_RangeThatWraps_IsRefused) {
  const std::array<MemoryRange, 1> ranges = {{{GuestAddress{UINT64_MAX - 4095}, 8192}}};
  EXPECT_FALSE(GuestMemory::Create(ranges, MemoryBacking::kAnonymous).has_value());
}

TEST(GuestMemoryTest, Create_MoreThanTheAddressSpace_NamesTheSize) {
  const std::array<MemoryRange, 1> ranges = {{{GuestAddress{0}, 1ull << 50}}};
  const auto memory = GuestMemory::Create(ranges, MemoryBacking::kAnonymous);
  ASSERT_FALSE(memory.has_value());
  EXPECT_EQ(memory.error().code, Code::kResourceExhausted);
  EXPECT_NE(memory.error().message.find("1073741824 MiB"), std::string::npos);
}

TEST(GuestMemoryTest, WriteThenRead_AcrossTouchingRegions_IsOneRange) {
  const auto memory = TouchingRegionsAndAHole();
  const GuestAddress seam{kMiB - 3};
  ASSERT_TRUE(memory->Write<std::uint64_t>(seam, 0x1122334455667788).has_value());
  EXPECT_EQ(memory->Read<std::uint64_t>(seam).value(), 0x1122334455667788u);
}

TEST(GuestMemoryTest, Write_ReachingIntoTheHole_WritesNothing) {
  const auto memory = TouchingRegionsAndAHole();
  const GuestAddress last{2 * kMiB - 4};
  EXPECT_EQ(memory->Write<std::uint64_t>(last, ~0ull).error(), MemError::kOutOfRange);
  EXPECT_EQ(memory->Read<std::uint32_t>(last).value(), 0u);
}

TEST(GuestMemoryTest, Contains_LengthThatWraps_IsFalse) {
  const auto memory = TouchingRegionsAndAHole();
  EXPECT_FALSE(memory->Contains(GuestAddress{4 * kMiB}, UINT64_MAX));
  EXPECT_FALSE(memory->Contains(GuestAddress{UINT64_MAX}, 2));
}

TEST(GuestMemoryTest, ToIov_AcrossTouchingRegions_GivesTwo) {
  const auto memory = TouchingRegionsAndAHole();
  std::array<iovec, 2> iov{};
  ASSERT_EQ(memory->ToIov(GuestAddress{kMiB - 16}, 48, iov).value(), 2u);
  EXPECT_EQ(iov[0].iov_len, 16u);
  EXPECT_EQ(iov[1].iov_len, 32u);
}

TEST(GuestMemoryTest, ToIov_IntoTheHole_IsOutOfRange) {
  const auto memory = TouchingRegionsAndAHole();
  std::array<iovec, 4> iov{};
  EXPECT_EQ(memory->ToIov(GuestAddress{2 * kMiB - 16}, 17, iov).error(), MemError::kOutOfRange);
}

TEST(GuestMemoryTest, ToIov_TooFewIovecs_IsToldApart) {
  const auto memory = TouchingRegionsAndAHole();
  std::array<iovec, 1> iov{};
  EXPECT_EQ(memory->ToIov(GuestAddress{kMiB - 16}, 48, iov).error(), MemError::kTooManySegments);
}

TEST(GuestMemoryTest, LoadAcquire16_OddAddress_IsMisaligned) {
  const auto memory = TouchingRegionsAndAHole();
  EXPECT_EQ(memory->LoadAcquire16(GuestAddress{1}).error(), MemError::kMisaligned);
}

class GuestMemoryClearTest : public testing::TestWithParam<MemoryBacking> {};

TEST_P(GuestMemoryClearTest, Clear_MakesRamReadAsZero) {
  const auto memory = TouchingRegionsAndAHole(GetParam());
  const GuestAddress at{4 * kMiB + 8};
  ASSERT_TRUE(memory->Write<std::uint32_t>(at, 7).has_value());
  ASSERT_TRUE(memory->Clear().has_value());
  EXPECT_EQ(memory->Read<std::uint32_t>(at).value(), 0u);
}

TEST_P(GuestMemoryClearTest, GiveBack_WholePagesAlone_ReadAsZero) {
  const auto memory = TouchingRegionsAndAHole(GetParam());
  const std::vector<std::byte> ones(5 * 4096, std::byte{1});
  const GuestAddress at{kMiB - 2 * 4096};  // two pages before the seam
  ASSERT_TRUE(memory->WriteBytes(at, ones).has_value());
  EXPECT_EQ(memory->GiveBack(GuestAddress{at.value + 1}, 4 * 4096), 3u * 4096);
  EXPECT_EQ(memory->Read<std::uint8_t>(at).value(), 1);
  for (std::uint64_t page = 1; page < 4; ++page)
    EXPECT_EQ(memory->Read<std::uint8_t>(GuestAddress{at.value + page * 4096}).value(), 0);
  EXPECT_EQ(memory->Read<std::uint8_t>(GuestAddress{at.value + 4 * 4096}).value(), 1);
}

TEST_P(GuestMemoryClearTest, GiveBack_WhatIsNoRam_IsPassedOver) {
  const auto memory = TouchingRegionsAndAHole(GetParam());
  EXPECT_EQ(memory->GiveBack(GuestAddress{2 * kMiB}, 2 * kMiB), 0u);
  EXPECT_EQ(memory->GiveBack(GuestAddress{2 * kMiB - 4096}, ~0ull), 4096 + kMiB);
  EXPECT_EQ(memory->GiveBack(GuestAddress{~0ull}, ~0ull), 0u);
}

TEST_P(GuestMemoryClearTest, GiveBack_OfAnIovec_IsTheSame) {
  const auto memory = TouchingRegionsAndAHole(GetParam());
  ASSERT_TRUE(memory->Write<std::uint8_t>(GuestAddress{4 * kMiB + 4096}, 1).has_value());
  iovec iov;
  ASSERT_TRUE(memory->ToIov(GuestAddress{4 * kMiB + 4096}, 4096, {&iov, 1}).has_value());
  EXPECT_EQ(memory->GiveBack(iov), 4096u);
  EXPECT_EQ(memory->Read<std::uint8_t>(GuestAddress{4 * kMiB + 4096}).value(), 0);
  EXPECT_EQ(memory->GiveBack(iovec{&iov, 4096}), 0u);
}

INSTANTIATE_TEST_SUITE_P(Backings, GuestMemoryClearTest,
                         testing::Values(MemoryBacking::kAnonymous, MemoryBacking::kShared));

TEST(GuestMemoryTest, Create_AnyRange_LiesInAHugePageAsTheGuestSeesIt) {
  const auto memory = TouchingRegionsAndAHole();
  for (const GuestMemory::Region& region : memory->regions()) {
    const auto host = reinterpret_cast<std::uintptr_t>(region.host);
    EXPECT_EQ(host % (2 * kMiB), region.start.value % (2 * kMiB));
  }
}

TEST(GuestMemoryTest, Shared_AnotherMappingOfTheFd_SeesTheSameBytes) {
  const auto memory = TouchingRegionsAndAHole(MemoryBacking::kShared);
  const GuestMemory::Region& beyond_the_hole = memory->regions()[2];
  ASSERT_TRUE(memory->Write<std::uint32_t>(beyond_the_hole.start, 0xfeed).has_value());
  void* other = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, memory->shared_fd(),
                     static_cast<off_t>(beyond_the_hole.file_offset));
  ASSERT_NE(other, MAP_FAILED);
  EXPECT_EQ(*static_cast<std::uint32_t*>(other), 0xfeedu);
  munmap(other, 4096);
}

}  // namespace
}  // namespace gemel
