#include "vmm/boot/bzimage_loader.h"

#include <gmock/gmock.h>

#include "tests/unit/vmm/boot/boot_fixture.h"
#include "vmm/boot/boot_params.h"

namespace gemel {
namespace {

using fakes::Bytes;
using fakes::BzImageFile;
using testing::HasSubstr;
namespace zp = boot::zero_page;

class BzImageLoaderTest : public BootTest {
 protected:
  template <class T>
  Bytes With(std::size_t at, T value) {
    Bytes bytes = BzImageFile();
    StoreLe(std::span(bytes), at, value);
    return bytes;
  }
};

TEST_F(BzImageLoaderTest, SoundImage_StartsInLongModeBehindItsLoadAddress) {
  const auto state = LoadBytes(BzImageFile());
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->mode, x86::BootState::Mode::kLong64);
  EXPECT_EQ(state->entry, 0x1000200u);
  EXPECT_EQ(state->argument, x86::kBootParams);
  EXPECT_EQ(state->page_tables, x86::kPageTables);
  EXPECT_EQ(state->gdt, x86::kGdtAddress);
}

TEST_F(BzImageLoaderTest, SoundImage_PayloadIsWithoutSetupSectors) {
  ASSERT_TRUE(LoadBytes(BzImageFile()));
  EXPECT_EQ(At<std::uint8_t>(0x1000001), 5);
  EXPECT_EQ(At<std::uint8_t>(0x1000fff), static_cast<std::uint8_t>(0xfff * 5));
}

TEST_F(BzImageLoaderTest, ZeroPage_HasHeaderCmdlineInitrdRsdpAndMap) {
  sources_.cmdline = "quiet";
  sources_.rsdp = GuestAddress{0xe0000};
  SetInitrd(4097);
  ASSERT_TRUE(LoadBytes(BzImageFile()));
  const std::uint64_t page = x86::kBootParams;
  EXPECT_EQ(At<std::uint32_t>(page + zp::kHeaderMagic), 0x53726448u);
  EXPECT_EQ(At<std::uint8_t>(page + zp::kTypeOfLoader), 0xff);
  EXPECT_EQ(At<std::uint32_t>(page + zp::kCmdLinePtr), x86::kCmdline);
  EXPECT_EQ(At<std::uint32_t>(page + zp::kRamdiskImage), (64u << 20) - 8192);
  EXPECT_EQ(At<std::uint32_t>(page + zp::kRamdiskSize), 4097u);
  EXPECT_EQ(At<std::uint64_t>(page + zp::kAcpiRsdp), 0xe0000u);
  EXPECT_EQ(At<std::uint8_t>(page + zp::kE820Entries), 3);
  EXPECT_EQ(At<std::uint64_t>(page + zp::kE820Table + 8), x86::kEbda);
  EXPECT_EQ(At<std::uint32_t>(x86::kCmdline), 0x65697571u);  // "quie"
}

TEST_F(BzImageLoaderTest, PageTables_MapTheLastPageBelow4GiBToItself) {
  ASSERT_TRUE(LoadBytes(BzImageFile()));
  const auto pdpt = At<std::uint64_t>(x86::kPageTables) & ~0xfffull;
  const auto directory = At<std::uint64_t>(pdpt + 3 * 8) & ~0xfffull;
  EXPECT_EQ(At<std::uint64_t>(directory + 511 * 8), 0xffe00083u);
  EXPECT_LE(directory + 4096, 0xf000u);
}

TEST_F(BzImageLoaderTest, Protocol211_IsRefused) {
  EXPECT_THAT(ErrorOf(With(zp::kVersion, std::uint16_t{0x020b})),
              HasSubstr("boot protocol 2.11: 2.12 or later"));
}

TEST_F(BzImageLoaderTest, ThirtyTwoBitKernel_IsRefused) {
  EXPECT_THAT(ErrorOf(With(zp::kXLoadFlags, std::uint16_t{0})),
              HasSubstr("without a 64-bit entry"));
}

TEST_F(BzImageLoaderTest, PayloadBeyondFile_IsTruncated) {
  Bytes bytes = BzImageFile();
  bytes.resize(bytes.size() - 16);
  EXPECT_EQ(ErrorOf(bytes), "kernel: /k: truncated: the kernel ends at byte 6656, file has 6640");
}

TEST_F(BzImageLoaderTest, LastUnitOfTheSizeNotFilled_IsLoaded) {
  Bytes bytes = BzImageFile();
  bytes.resize(bytes.size() - 15);
  EXPECT_EQ(ErrorOf(bytes), "");
}

TEST_F(BzImageLoaderTest, HeaderBeyondFile_IsTruncated) {
  Bytes bytes = BzImageFile();
  bytes.resize(0x28f);
  EXPECT_EQ(ErrorOf(bytes), "kernel: /k: truncated: no whole setup header");
}

TEST_F(BzImageLoaderTest, SizeFieldOfAllOnes_IsTruncated) {
  EXPECT_THAT(ErrorOf(With(zp::kSysSize, std::uint32_t{0xffffffff})), HasSubstr("truncated"));
}

TEST_F(BzImageLoaderTest, InitSizeSmallerThanPayload_IsRefused) {
  EXPECT_THAT(ErrorOf(With(zp::kInitSize, std::uint32_t{0xfff})),
              HasSubstr("setup header is wrong"));
}

TEST_F(BzImageLoaderTest, ShortSetupHeader_IsRefused) {
  EXPECT_THAT(ErrorOf(With(zp::kJump, std::uint16_t{0x20eb})), HasSubstr("too short"));
}

TEST_F(BzImageLoaderTest, InitSizeBeyondMemory_IsRefused) {
  EXPECT_THAT(ErrorOf(With(zp::kInitSize, std::uint32_t{49 << 20})),
              HasSubstr("needs 49 MiB at 0x1000000 to unpack"));
}

TEST_F(BzImageLoaderTest, LoadAddressThatWraps_IsRefused) {
  EXPECT_THAT(ErrorOf(With(zp::kPrefAddress, UINT64_MAX - 4095)), HasSubstr("does not lie"));
}

TEST_F(BzImageLoaderTest, CmdlineLongerThanKernelTakes_IsRefused) {
  sources_.cmdline = std::string(300, 'a');
  EXPECT_EQ(ErrorOf(With(zp::kCmdlineSize, std::uint32_t{255})),
            "cmdline: 300 bytes: this kernel takes at most 255");
}

TEST_F(BzImageLoaderTest, CmdlineLongerThanOurPlace_IsRefused) {
  sources_.cmdline = std::string(3000, 'a');
  EXPECT_EQ(ErrorOf(With(zp::kCmdlineSize, std::uint32_t{4096})),
            "cmdline: 3000 bytes: this kernel takes at most 2047");
}

TEST_F(BzImageLoaderTest, InitrdAboveWhatKernelAllows_IsPlacedLower) {
  SetInitrd(4096);
  ASSERT_TRUE(LoadBytes(With(zp::kInitrdAddrMax, std::uint32_t{0x2ffffff})));
  EXPECT_EQ(At<std::uint32_t>(x86::kBootParams + zp::kRamdiskImage), 0x2fff000u);
}

}  // namespace
}  // namespace gemel
