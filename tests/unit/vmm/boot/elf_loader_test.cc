#include "vmm/boot/elf_loader.h"

#include <gmock/gmock.h>

#include "tests/unit/vmm/boot/boot_fixture.h"
#include "vmm/boot/pvh_start_info.h"

namespace gemel {
namespace {

using fakes::Bytes;
using fakes::ElfFile;
using testing::HasSubstr;
namespace elf = boot::elf;

class ElfLoaderTest : public BootTest {};

TEST_F(ElfLoaderTest, SoundElf_StartsInProtectedModeAtItsPvhEntry) {
  const auto state = LoadBytes(ElfFile::Sound().Build());
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->mode, x86::BootState::Mode::kProtected32);
  EXPECT_EQ(state->entry, 0x1000000u);
  EXPECT_EQ(state->argument, x86::kPvhStartInfo);
}

TEST_F(ElfLoaderTest, SoundElf_ContentIsAtItsPhysicalAddressAndBssIsZero) {
  ASSERT_TRUE(LoadBytes(ElfFile::Sound().Build()));
  EXPECT_EQ(At<std::uint8_t>(0x1000001), 7);
  EXPECT_EQ(At<std::uint8_t>(0x1000fff), static_cast<std::uint8_t>(0xfff * 7));
  EXPECT_EQ(At<std::uint64_t>(0x1001000), 0u);
}

TEST_F(ElfLoaderTest, EightByteEntryNote_IsTaken) {
  ElfFile file = ElfFile::Sound();
  const std::uint64_t entry = 0x1000010;
  file.notes = fakes::Note("Xen", elf::kXenNotePhys32Entry, std::as_bytes(std::span(&entry, 1)));
  file.headers[1].file_size = file.notes.size();
  const auto state = LoadBytes(file.Build());
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->entry, entry);
}

TEST_F(ElfLoaderTest, EntryNoteBehindOthers_IsFound) {
  ElfFile file = ElfFile::Sound();
  Bytes notes = fakes::Note("GNU", 3, Bytes(20));
  const Bytes other_type = fakes::Note("Xen", 6, Bytes(9));
  const Bytes pvh = fakes::PvhNote(0x1000000);
  notes.insert(notes.end(), other_type.begin(), other_type.end());
  notes.insert(notes.end(), pvh.begin(), pvh.end());
  file.notes = notes;
  file.headers[1].file_size = notes.size();
  EXPECT_EQ(ErrorOf(file.Build()), "");
}

TEST_F(ElfLoaderTest, NoEntryNote_SaysWhatToDo) {
  ElfFile file = ElfFile::Sound();
  file.headers.pop_back();
  EXPECT_THAT(ErrorOf(file.Build()), HasSubstr("kernel: /k: an ELF without a PVH entry"));
}

TEST_F(ElfLoaderTest, EntryOutsideSegments_IsRefused) {
  ElfFile file = ElfFile::Sound();
  file.notes = fakes::PvhNote(0x1003000);
  EXPECT_EQ(ErrorOf(file.Build()), "kernel: /k: its PVH entry 0x1003000 is in no segment");
}

TEST_F(ElfLoaderTest, SegmentBeyondFile_IsTruncated) {
  Bytes bytes = ElfFile::Sound().Build();
  bytes.resize(0x1800);
  EXPECT_EQ(ErrorOf(bytes), "kernel: /k: truncated: segment 0 ends at byte 8192, file has 6144");
}

TEST_F(ElfLoaderTest, ProgramHeadersBeyondFile_IsTruncated) {
  Bytes bytes = ElfFile::Sound().Build();
  bytes.resize(100);
  EXPECT_EQ(ErrorOf(bytes), "kernel: /k: truncated: program headers at byte 64, file has 100");
}

TEST_F(ElfLoaderTest, HeaderBeyondFile_IsTruncated) {
  Bytes bytes = ElfFile::Sound().Build();
  bytes.resize(63);
  EXPECT_EQ(ErrorOf(bytes), "kernel: /k: truncated: no whole ELF header");
}

TEST_F(ElfLoaderTest, SegmentOffsetWraps_IsRefused) {
  ElfFile file = ElfFile::Sound();
  file.headers[0].offset = UINT64_MAX - 1;
  EXPECT_THAT(ErrorOf(file.Build()), HasSubstr("segment 0 wraps"));
}

TEST_F(ElfLoaderTest, SegmentAddressWraps_IsRefused) {
  ElfFile file = ElfFile::Sound();
  file.headers[0].address = UINT64_MAX - 1;
  EXPECT_THAT(ErrorOf(file.Build()), HasSubstr("wrap"));
}

TEST_F(ElfLoaderTest, MoreInFileThanInMemory_IsRefused) {
  ElfFile file = ElfFile::Sound();
  file.headers[0].memory_size = 0xfff;
  EXPECT_THAT(ErrorOf(file.Build()), HasSubstr("segment 0: 4096 bytes in the file for 4095"));
}

TEST_F(ElfLoaderTest, OverlappingSegments_AreRefused) {
  ElfFile file = ElfFile::Sound();
  file.headers.push_back(
      {.offset = 0x1000, .address = 0x1002fff, .file_size = 1, .memory_size = 1});
  EXPECT_EQ(ErrorOf(file.Build()), "kernel: /k: segments overlap at 0x1002fff");
}

TEST_F(ElfLoaderTest, SegmentBelow1MiB_IsRefused) {
  ElfFile file = ElfFile::Sound();
  file.headers[0].address = x86::kHighRam - 1;
  file.notes = fakes::PvhNote(x86::kHighRam);
  EXPECT_THAT(ErrorOf(file.Build()), HasSubstr("does not lie between 1 MiB and the end of 64 MiB"));
}

TEST_F(ElfLoaderTest, SegmentPastEndOfMemory_IsRefused) {
  ElfFile file = ElfFile::Sound();
  file.headers[0].memory_size = 48 << 20 | 1;
  EXPECT_THAT(ErrorOf(file.Build()), HasSubstr("needs 48.0 MiB at 0x1000000"));
}

TEST_F(ElfLoaderTest, ThirtyTwoBitElf_IsRefused) {
  Bytes bytes = ElfFile::Sound().Build();
  bytes[elf::kClass] = std::byte{1};
  EXPECT_THAT(ErrorOf(bytes), HasSubstr("an ELF for another machine"));
}

TEST_F(ElfLoaderTest, NoLoadSegment_IsRefused) {
  ElfFile file = ElfFile::Sound();
  file.headers[0].memory_size = file.headers[0].file_size = 0;
  EXPECT_EQ(ErrorOf(file.Build()), "kernel: /k: an ELF with nothing to load");
}

TEST(FindPvhEntryTest, DescBeyondNotes_IsNotFound) {
  Bytes notes = fakes::PvhNote(1);
  StoreLe(std::span(notes), 4, std::uint32_t{0xffffffff});
  EXPECT_FALSE(boot::FindPvhEntry(notes, 4));
}

TEST(FindPvhEntryTest, NameBeyondNotes_IsNotFound) {
  Bytes notes = fakes::PvhNote(1);
  StoreLe(std::span(notes), 0, std::uint32_t{0xfffffffe});
  EXPECT_FALSE(boot::FindPvhEntry(notes, 4));
}

TEST(FindPvhEntryTest, EntryAbove4GiB_IsNotFound) {
  const std::uint64_t entry = 1ull << 32;
  const Bytes notes =
      fakes::Note("Xen", elf::kXenNotePhys32Entry, std::as_bytes(std::span(&entry, 1)));
  EXPECT_FALSE(boot::FindPvhEntry(notes, 4));
}

TEST_F(ElfLoaderTest, StartInfo_NamesCmdlineInitrdRsdpAndMap) {
  sources_.cmdline = "console=ttyS0";
  sources_.rsdp = GuestAddress{0xe0000};
  SetInitrd(5000);
  ASSERT_TRUE(LoadBytes(ElfFile::Sound().Build()));
  const std::uint64_t info = x86::kPvhStartInfo;
  EXPECT_EQ(At<std::uint32_t>(info), boot::start_info::kMagic);
  EXPECT_EQ(At<std::uint32_t>(info + 4), 1u);
  EXPECT_EQ(At<std::uint32_t>(info + 12), 1u);  // modules
  const auto modules = At<std::uint64_t>(info + 16);
  EXPECT_EQ(At<std::uint64_t>(modules), (64u << 20) - 8192);
  EXPECT_EQ(At<std::uint64_t>(modules + 8), 5000u);
  EXPECT_EQ(At<std::uint64_t>(info + 24), x86::kCmdline);
  EXPECT_EQ(At<std::uint64_t>(info + 32), 0xe0000u);
  EXPECT_EQ(At<std::uint32_t>(info + 48), 3u);  // memory map entries
  const auto map = At<std::uint64_t>(info + 40);
  EXPECT_EQ(At<std::uint64_t>(map + 24), x86::kEbda);
  EXPECT_EQ(At<std::uint32_t>(map + 24 + 16), 2u);  // reserved
}

}  // namespace
}  // namespace gemel
