#include "grpc/folder_lock.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/file_util.h"

namespace gemel::daemon {
namespace {

class FolderLockTest : public ::testing::Test {
 protected:
  FolderLockTest() {
    std::string pattern = ::testing::TempDir() + "lockXXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~FolderLockTest() override { std::filesystem::remove_all(folder_); }
  std::string folder_;
};

TEST_F(FolderLockTest, FreeFolder_IsLockedAndNamesTheProcess) {
  const auto lock = LockFolder(folder_);
  ASSERT_TRUE(lock.has_value());
  EXPECT_EQ(ReadTextFile(folder_ + "/lock"), fmt::format("{}\n", getpid()));
}

TEST_F(FolderLockTest, LockedFolder_NamesPathAndProcess) {
  const auto lock = LockFolder(folder_);
  const auto second = LockFolder(folder_, 0);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, Code::kFailedPrecondition);
  EXPECT_EQ(second.error().message,
            fmt::format("{0}/lock: another gemeld (process {1}) has {0}", folder_, getpid()));
}

TEST_F(FolderLockTest, LockGivenBack_IsFree) {
  {
    const auto lock = LockFolder(folder_);
  }
  EXPECT_TRUE(LockFolder(folder_, 0).has_value());
}

TEST_F(FolderLockTest, EmptyLockFile_IsALockAsWell) {
  const auto lock = LockFolder(folder_);
  ASSERT_EQ(truncate((folder_ + "/lock").c_str(), 0), 0);
  const auto second = LockFolder(folder_, 0);
  EXPECT_EQ(second.error().message, fmt::format("{0}/lock: another gemeld has {0}", folder_));
}

}  // namespace
}  // namespace gemel::daemon
