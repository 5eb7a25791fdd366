#include "block/lock.h"

#include <gtest/gtest.h>

#include "tests/unit/block/scratch_file.h"

namespace gemel::block {
namespace {

TEST(LockImageTest, SecondWriter_IsRefused) {
  const UniqueFd file = ScratchFile(".", 4096);
  const UniqueFd other = Reopen(file, O_RDWR);
  ASSERT_TRUE(LockImage(file.get(), false));
  const Status locked = LockImage(other.get(), false);
  ASSERT_FALSE(locked);
  EXPECT_EQ(locked.error().code, Code::kFailedPrecondition);
  EXPECT_EQ(locked.error().message, "in use by another process (a VM?)");
}

TEST(LockImageTest, ReaderBesideWriter_IsRefused) {
  const UniqueFd file = ScratchFile(".", 4096);
  const UniqueFd other = Reopen(file, O_RDONLY);
  ASSERT_TRUE(LockImage(file.get(), false));
  EXPECT_FALSE(LockImage(other.get(), true));
}

TEST(LockImageTest, TwoReaders_Share) {
  const UniqueFd file = ScratchFile(".", 4096);
  const UniqueFd one = Reopen(file, O_RDONLY);
  const UniqueFd two = Reopen(file, O_RDONLY);
  EXPECT_TRUE(LockImage(one.get(), true));
  EXPECT_TRUE(LockImage(two.get(), true));
}

TEST(LockImageTest, DuplicatedDescriptor_KeepsTheLock) {
  const UniqueFd file = ScratchFile(".", 4096);
  const UniqueFd other = Reopen(file, O_RDWR);
  UniqueFd first = Reopen(file, O_RDWR);
  ASSERT_TRUE(LockImage(first.get(), false));
  const UniqueFd passed(dup(first.get()));
  first.Reset();
  EXPECT_FALSE(LockImage(other.get(), false));
}

TEST(LockImageTest, LastDescriptorClosed_Unlocks) {
  const UniqueFd file = ScratchFile(".", 4096);
  UniqueFd first = Reopen(file, O_RDWR);
  ASSERT_TRUE(LockImage(first.get(), false));
  first.Reset();
  EXPECT_TRUE(LockImage(file.get(), false));
}

}  // namespace
}  // namespace gemel::block
