#include "vmm/boot/boot.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include "tests/unit/vmm/boot/boot_fixture.h"
#include "vmm/boot/boot_info.h"
#include "vmm/boot/initrd.h"

namespace gemel {
namespace {

using fakes::Bytes;
using fakes::BzImageFile;
using testing::HasSubstr;

TEST_F(BootTest, RubbishKernel_IsNeither) {
  EXPECT_EQ(ErrorOf(Bytes(1000)), "kernel: /k: neither an ELF with a PVH entry nor a bzImage");
}

TEST_F(BootTest, OneByteKernel_IsNeither) {
  EXPECT_EQ(ErrorOf(Bytes(1)), "kernel: /k: neither an ELF with a PVH entry nor a bzImage");
}

TEST_F(BootTest, EmptyKernel_SaysSo) { EXPECT_EQ(ErrorOf(Bytes()), "kernel: /k: is empty"); }

TEST_F(BootTest, DirectoryAsKernel_SaysSo) {
  const UniqueFd directory(open("/", O_RDONLY | O_CLOEXEC));
  sources_.kernel_fd = directory.get();
  sources_.kernel_name = std::string("/");
  const auto state = boot::Load(*memory_, sources_);
  ASSERT_FALSE(state);
  EXPECT_EQ(state.error().message, "kernel: /: neither a regular file nor a block device");
}

TEST_F(BootTest, CmdlineWithZeroByte_IsRefused) {
  using namespace std::string_literals;
  sources_.cmdline = "a\0b"s;
  EXPECT_EQ(ErrorOf(BzImageFile()), "cmdline: has a zero byte at 1");
}

TEST_F(BootTest, InitrdThatDoesNotFit_NamesBothSizes) {
  SetInitrd(900 << 20);
  EXPECT_EQ(ErrorOf(BzImageFile()),
            "initrd: /i: 900 MiB does not fit beside the kernel in 64 MiB of memory");
}

TEST_F(BootTest, EmptyInitrd_SaysSo) {
  SetInitrd(0);
  EXPECT_EQ(ErrorOf(BzImageFile()), "initrd: /i: is empty");
}

TEST_F(BootTest, SameMachineAgainAfterClear_Loads) {
  ASSERT_TRUE(LoadBytes(BzImageFile()));
  ASSERT_TRUE(memory_->Clear());
  EXPECT_EQ(ErrorOf(BzImageFile()), "");
}

TEST(MemoryMapTest, RamAbove4GiB_IsAnEntryOfItsOwn) {
  const MemoryRange ranges[] = {{GuestAddress{0}, 2 << 20}, {GuestAddress{4ull << 30}, 1 << 20}};
  const auto memory = GuestMemory::Create(ranges, MemoryBacking::kAnonymous);
  ASSERT_TRUE(memory);
  const auto map = boot::BuildMemoryMap(**memory);
  ASSERT_EQ(map.size(), 4u);
  EXPECT_EQ(map[0].size, x86::kEbda);
  EXPECT_EQ(map[1].type, boot::MapType::kReserved);
  EXPECT_EQ(map[1].address + map[1].size, x86::kHighRam);
  EXPECT_EQ(map[2].address + map[2].size, 2u << 20);
  EXPECT_EQ(map[3].address, 4ull << 30);
  EXPECT_EQ(map[3].size, 1u << 20);
}

boot::LoadedKernel KernelAt(std::uint64_t start, std::uint64_t end) {
  boot::LoadedKernel kernel;
  kernel.start = start;
  kernel.end = end;
  return kernel;
}

TEST(PlaceInitrdTest, RoomAboveKernel_GoesToTheTop) {
  EXPECT_EQ(boot::PlaceInitrd(1, 64 << 20, KernelAt(16 << 20, 32 << 20)), (64u << 20) - 4096);
}

TEST(PlaceInitrdTest, RoomExactlyAboveKernel_IsTaken) {
  EXPECT_EQ(boot::PlaceInitrd(32 << 20, 64 << 20, KernelAt(16 << 20, 32 << 20)), 32u << 20);
}

TEST(PlaceInitrdTest, NoRoomAboveKernel_GoesBelow) {
  EXPECT_EQ(boot::PlaceInitrd(8 << 20, 64 << 20, KernelAt(16 << 20, 60 << 20)), 8u << 20);
}

TEST(PlaceInitrdTest, NoRoomAtAll_IsNothing) {
  EXPECT_FALSE(boot::PlaceInitrd(16 << 20, 64 << 20, KernelAt(16 << 20, 60 << 20)));
  EXPECT_FALSE(boot::PlaceInitrd(UINT64_MAX, 64 << 20, KernelAt(16 << 20, 60 << 20)));
}

}  // namespace
}  // namespace gemel
