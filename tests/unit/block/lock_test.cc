#include "block/lock.h"

#include <gtest/gtest.h>

#include "block/raw.h"
#include "tests/unit/block/scratch_file.h"

namespace gemel::block {
namespace {

constexpr std::chrono::milliseconds kNow{0};

TEST(LockImageTest, SecondWriter_IsRefused) {
  const UniqueFd file = ScratchFile(".", 4096);
  const UniqueFd other = Reopen(file, O_RDWR);
  ASSERT_TRUE(LockImage(file.get(), false));
  const Status locked = LockImage(other.get(), false, kNow);
  ASSERT_FALSE(locked);
  EXPECT_EQ(locked.error().code, Code::kFailedPrecondition);
  EXPECT_EQ(locked.error().message, "in use by another process (a VM?)");
}

TEST(LockImageTest, ReaderBesideWriter_IsRefused) {
  const UniqueFd file = ScratchFile(".", 4096);
  const UniqueFd other = Reopen(file, O_RDONLY);
  ASSERT_TRUE(LockImage(file.get(), false));
  EXPECT_FALSE(LockImage(other.get(), true, kNow));
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
  EXPECT_FALSE(LockImage(other.get(), false, kNow));
}

TEST(LockImageTest, LastDescriptorClosed_Unlocks) {
  const UniqueFd file = ScratchFile(".", 4096);
  UniqueFd first = Reopen(file, O_RDWR);
  ASSERT_TRUE(LockImage(first.get(), false));
  first.Reset();
  EXPECT_TRUE(LockImage(file.get(), false));
}

// Of a ring with a registered file the kernel lets go later.
TEST(TakeImageLockTest, LockGoneBeforeTheRing_IsGone) {
  const UniqueFd file = ScratchFile(".", 4096);
  const UniqueFd other = Reopen(file, O_RDWR);
  RawOptions options;
  options.fd = Reopen(file, O_RDWR);
  auto lock = TakeImageLock(options.fd.get(), false);
  ASSERT_TRUE(lock);
  auto backend = OpenRaw(std::move(options));
  ASSERT_TRUE(backend);
  EXPECT_FALSE(LockImage(other.get(), false, kNow));
  lock->Reset();
  EXPECT_TRUE(LockImage(other.get(), false, kNow));
}

TEST(TakeImageLockTest, ReadersShare) {
  const UniqueFd file = ScratchFile(".", 4096);
  const UniqueFd one = Reopen(file, O_RDONLY), two = Reopen(file, O_RDONLY);
  const auto first = TakeImageLock(one.get(), true);
  const auto second = TakeImageLock(two.get(), true);
  EXPECT_TRUE(first);
  EXPECT_TRUE(second);
}

}  // namespace
}  // namespace gemel::block
