#include "block/iscsi/scsi.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/load_be.h"

namespace gemel::block {
namespace {

std::vector<std::byte> Capacity(std::uint64_t last, std::uint32_t block, unsigned exponent = 0,
                                unsigned provisioning = 0) {
  std::vector<std::byte> data(kCapacityBytes);
  StoreBe(std::span(data), 0, last);
  StoreBe(std::span(data), 8, block);
  data[13] = static_cast<std::byte>(exponent);
  data[14] = static_cast<std::byte>(provisioning);
  return data;
}

TEST(ScsiTest, Write16_CarriesBlockCountAndFua) {
  const ScsiCommand command = Write16(0x0102030405060708, 0x090a0b0c, true);

  EXPECT_EQ(command.cdb_bytes, 16);
  EXPECT_EQ(command.cdb, (std::array<std::uint8_t, 16>{0x8a, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa,
                                                       0xb, 0xc, 0, 0}));
}

TEST(ScsiTest, UnmapParameters_HoldOneDescriptor) {
  const auto data = UnmapParameters(5, 7);

  EXPECT_EQ(LoadBe16(data, 0), 22);
  EXPECT_EQ(LoadBe16(data, 2), 16);
  EXPECT_EQ(LoadBe64(data, 8), 5u);
  EXPECT_EQ(LoadBe32(data, 16), 7u);
}

TEST(ScsiTest, CapacityOfADisk_IsRead) {
  const auto capacity = ParseCapacity(Capacity(99, 512, 3, 0x80));

  ASSERT_TRUE(capacity);
  EXPECT_EQ(capacity->blocks, 100u);
  EXPECT_EQ(capacity->block_bytes, 512u);
  EXPECT_EQ(capacity->physical_block_bytes, 4096u);
  EXPECT_TRUE(capacity->can_unmap);
}

TEST(ScsiTest, PhysicalBlocksBeyondReason_AreCut) {
  EXPECT_EQ(ParseCapacity(Capacity(99, 65536, 15))->physical_block_bytes, 1u << 20);
}

TEST(ScsiTest, BlockSizesThatNoDiskOfOursHas_AreRefused) {
  for (const std::uint32_t block : {0u, 1u, 256u, 520u, 131072u, 0x80000000u})
    EXPECT_FALSE(ParseCapacity(Capacity(99, block))) << block;
}

TEST(ScsiTest, MoreBytesThan62Bits_AreRefused) {
  EXPECT_FALSE(ParseCapacity(Capacity(~std::uint64_t{0}, 512)));
  EXPECT_FALSE(ParseCapacity(Capacity(std::uint64_t{1} << 53, 512)));
}

TEST(ScsiTest, ShortCapacity_IsRefused) {
  const std::vector<std::byte> data = Capacity(99, 512);

  EXPECT_FALSE(ParseCapacity(std::span(data).first(13)));
}

TEST(ScsiTest, LimitsPage_IsReadAsFarAsItGoes) {
  std::vector<std::byte> data(kLimitsBytes);
  data[1] = std::byte{kLimitsPage};
  StoreBe(std::span(data), 2, std::uint16_t{60});
  StoreBe(std::span(data), 8, std::uint32_t{1024});
  StoreBe(std::span(data), 20, std::uint32_t{4096});
  StoreBe(std::span(data), 24, std::uint32_t{1});
  StoreBe(std::span(data), 36, std::uint64_t{77});

  EXPECT_EQ(ParseLimits(data).max_transfer_blocks, 1024u);
  EXPECT_EQ(ParseLimits(data).max_unmap_blocks, 4096u);
  EXPECT_EQ(ParseLimits(data).max_write_same_blocks, 77u);
  EXPECT_EQ(ParseLimits(std::span(data).first(12)).max_transfer_blocks, 1024u);
  EXPECT_EQ(ParseLimits(std::span(data).first(24)).max_unmap_blocks, 0u);
}

TEST(ScsiTest, AnotherPage_SaysNothing) {
  std::vector<std::byte> data(kLimitsBytes, std::byte{0xff});

  EXPECT_EQ(ParseLimits(data).max_transfer_blocks, 0u);
  EXPECT_FALSE(ParseProvisioning(data).unmap);
}

TEST(ScsiTest, ModeBits_AreInTheThirdByte) {
  const std::vector<std::byte> data = {std::byte{3}, std::byte{0}, std::byte{0x90}, std::byte{0}};

  EXPECT_TRUE(ParseMode(data).write_protected);
  EXPECT_TRUE(ParseMode(data).durable_writes);
  EXPECT_FALSE(ParseMode({}).durable_writes);
}

}  // namespace
}  // namespace gemel::block
