#include "base/file_util.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>

namespace gemel {
namespace {

UniqueFd FileOf(std::string_view text) {
  UniqueFd fd(memfd_create("test", MFD_CLOEXEC));
  EXPECT_TRUE(WriteAll(fd.get(), std::as_bytes(std::span(text))).has_value());
  return fd;
}

TEST(FileUtilTest, OpenFile_Missing_NamesThePath) {
  const auto fd = OpenFile("/no/such/file", O_RDONLY);
  ASSERT_FALSE(fd.has_value());
  EXPECT_EQ(fd.error().message, "/no/such/file: No such file or directory");
}

TEST(FileUtilTest, ReadExactlyAt_FileEndsFirst_SaysHowShort) {
  const UniqueFd fd = FileOf("abcdef");
  std::array<std::byte, 8> out;
  const auto status = ReadExactlyAt(fd.get(), 2, out);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, Code::kOutOfRange);
  EXPECT_EQ(status.error().message, "file ends at byte 6, 4 short");
}

TEST(FileUtilTest, FileSize_OfAPipe_IsRefused) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]), writer(ends[1]);
  EXPECT_EQ(FileSize(reader.get()).error().code, Code::kInvalidArgument);
}

TEST(FileUtilTest, ReplaceFile_Twice_LeavesTheSecondTextAndAnotherStamp) {
  const std::string path = testing::TempDir() + "replace_file";
  ASSERT_TRUE(ReplaceFile(path, "one").has_value());
  const FileStamp first = StampOf(path);
  ASSERT_TRUE(ReplaceFile(path, "two").has_value());
  EXPECT_EQ(ReadTextFile(path).value(), "two");
  EXPECT_NE(StampOf(path), first);
  EXPECT_EQ(access((path + ".new").c_str(), F_OK), -1);
}

TEST(FileUtilTest, ReplaceFile_NoSuchFolder_NamesThePath) {
  const auto status = ReplaceFile("/no/such/folder/file", "text");
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, Code::kNotFound);
}

TEST(FileUtilTest, StampOf_MissingFile_SaysSo) { EXPECT_EQ(StampOf("/no/such").size, -1); }

}  // namespace
}  // namespace gemel
