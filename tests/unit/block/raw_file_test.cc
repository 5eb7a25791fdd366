#include "block/raw_file.h"

#include <gtest/gtest.h>

#include "block/raw.h"
#include "tests/unit/block/scratch_file.h"

namespace gemel::block {
namespace {

TEST(ProbeRawFileTest, RegularFile_Has512ByteBlocksOn4KPhysical) {
  const Result<RawFile> file = ProbeRawFile(ScratchFile(".", 1 << 20), false, false);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->size, 1u << 20);
  EXPECT_EQ(file->topology.logical_block_size, 512u);
  EXPECT_EQ(file->topology.physical_block_size, 4096u);
}

TEST(ProbeRawFileTest, SizeNotAMultipleOf512_IsRefusedByValue) {
  const Result<RawFile> file = ProbeRawFile(ScratchFile(".", 1000), false, false);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, Code::kInvalidArgument);
  EXPECT_EQ(file.error().message,
            "size 1000: not a multiple of 512 bytes; round it up with truncate --size=%512 FILE");
}

TEST(ProbeRawFileTest, EmptyFile_IsRefused) {
  EXPECT_FALSE(ProbeRawFile(ScratchFile(".", 0), false, false));
}

TEST(ProbeRawFileTest, Folder_IsRefused) {
  EXPECT_FALSE(ProbeRawFile(UniqueFd(open(".", O_RDONLY)), true, false));
}

TEST(ProbeRawFileTest, ReadOnlyDescriptorToBeWritten_IsRefused) {
  const UniqueFd file = ScratchFile(".", 4096);
  const Result<RawFile> probed = ProbeRawFile(Reopen(file, O_RDONLY), false, false);
  ASSERT_FALSE(probed);
  EXPECT_EQ(probed.error().code, Code::kInvalidArgument);
}

TEST(ProbeRawFileTest, ReadOnly_OffersNoDiscard) {
  const UniqueFd file = ScratchFile(".", 4096);
  const Result<RawFile> probed = ProbeRawFile(Reopen(file, O_RDONLY), true, false);
  ASSERT_TRUE(probed);
  EXPECT_EQ(probed->topology.discard_granularity, 0u);
}

TEST(ProbeRawFileTest, AppendMode_IsTurnedOff) {
  const UniqueFd file = ScratchFile(".", 4096);
  const Result<RawFile> probed = ProbeRawFile(Reopen(file, O_RDWR | O_APPEND), false, false);
  ASSERT_TRUE(probed);
  EXPECT_EQ(fcntl(probed->fd.get(), F_GETFL) & O_APPEND, 0);
}

TEST(ProbeRawFileTest, Direct_KnowsItsAlignment) {
  const Result<RawFile> file = ProbeRawFile(ScratchFile(".", 1 << 20), false, true);
  if (!file) GTEST_SKIP() << file.error().message;
  EXPECT_TRUE(file->direct);
  EXPECT_EQ(file->topology.logical_block_size, file->length_alignment);
  EXPECT_GE(file->length_alignment, 512u);
}

TEST(OpenRawTest, DepthZero_IsRefusedByValue) {
  RawOptions options;
  options.fd = ScratchFile(".", 4096);
  options.engine = Engine::kIoUring;
  options.depth = 0;
  const auto backend = OpenRaw(std::move(options));
  ASSERT_FALSE(backend);
  EXPECT_EQ(backend.error().message, "depth 0: not from 1 to 4096");
}

}  // namespace
}  // namespace gemel::block
