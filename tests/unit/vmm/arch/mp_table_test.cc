#include "vmm/arch/x86/mp_table.h"

#include <gtest/gtest.h>

#include <cstring>
#include <span>

#include "base/load_le.h"
#include "vmm/arch/x86/layout.h"

namespace gemel {
namespace {

std::uint8_t Sum(std::span<const std::uint8_t> bytes) {
  std::uint8_t sum = 0;
  for (const std::uint8_t byte : bytes) sum = static_cast<std::uint8_t>(sum + byte);
  return sum;
}

TEST(MpTableTest, Pointer_SumsToZeroAndNamesTheTable) {
  const auto pointer = x86::BuildMpTable(1).pointer;
  ASSERT_EQ(pointer.size(), 16u);
  EXPECT_EQ(std::memcmp(pointer.data(), "_MP_", 4), 0);
  EXPECT_EQ(LoadLe32(std::as_bytes(std::span(pointer)), 4), 0xf0000u);
  EXPECT_EQ(Sum(pointer), 0);
}

TEST(MpTableTest, Configuration_SumsToZeroAndItsEntriesFillIt) {
  const auto table = x86::BuildMpTable(3).configuration;
  const auto bytes = std::as_bytes(std::span(table));
  EXPECT_EQ(std::memcmp(table.data(), "PCMP", 4), 0);
  EXPECT_EQ(LoadLe16(bytes, 4), table.size());
  EXPECT_EQ(Sum(table), 0);
  std::size_t at = 44;
  int entries = 0;
  for (; at < table.size(); ++entries) at += table[at] == 0 ? 20 : 8;
  EXPECT_EQ(at, table.size());
  EXPECT_EQ(LoadLe16(bytes, 34), entries);
}

TEST(MpTableTest, FirstProcessor_IsTheBootProcessor) {
  const auto table = x86::BuildMpTable(2).configuration;
  EXPECT_EQ(table[44 + 3], 3);
  EXPECT_EQ(table[44 + 20 + 1], 1);
  EXPECT_EQ(table[44 + 20 + 3], 1);
}

TEST(MpTableTest, EveryVirtioInterrupt_HasAnAssignment) {
  const auto table = x86::BuildMpTable(1).configuration;
  for (const std::uint32_t irq : x86::kMmioIrqs) {
    bool found = false;
    for (std::size_t at = 44; at < table.size(); at += table[at] == 0 ? 20 : 8)
      found = found || (table[at] == 3 && table[at + 5] == irq && table[at + 7] == irq);
    EXPECT_TRUE(found) << irq;
  }
}

TEST(MpTableTest, Write_PutsThePointerInTheLastKilobyteOfBaseMemory) {
  const MemoryRange ranges[] = {{GuestAddress{0}, 2 << 20}};
  const auto memory = GuestMemory::Create(ranges, MemoryBacking::kAnonymous);
  ASSERT_TRUE(memory);
  ASSERT_TRUE(x86::WriteMpTable(**memory, 64));
  EXPECT_EQ(*(*memory)->Read<std::uint32_t>(GuestAddress{0x9fc00}), 0x5f504d5fu);
  EXPECT_EQ(*(*memory)->Read<std::uint32_t>(GuestAddress{0xf0000}), 0x504d4350u);
  EXPECT_FALSE(x86::WriteMpTable(**memory, 255));
}

TEST(MmioCmdlineWordsTest, TwoDevices_HaveAWordEach) {
  EXPECT_EQ(x86::MmioCmdlineWords(2),
            "virtio_mmio.device=4K@0xd0000000:16 virtio_mmio.device=4K@0xd0001000:17");
  EXPECT_EQ(x86::MmioCmdlineWords(0), "");
}

}  // namespace
}  // namespace gemel
