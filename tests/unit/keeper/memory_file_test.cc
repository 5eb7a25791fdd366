#include "keeper/memory_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/file_util.h"

namespace gemel::keeper {
namespace {

const MemoryState kState{3, {17}, {900}, true};

struct MemoryFileTest : ::testing::Test {
  MemoryFileTest() : loop(EventLoop::Create().value()) {
    std::string name = ::testing::TempDir() + "memory-XXXXXX";
    folder = mkdtemp(name.data());
  }
  ~MemoryFileTest() override { std::filesystem::remove_all(folder); }
  std::string path() const { return folder + "/memory"; }
  std::unique_ptr<EventLoop> loop;
  std::string folder;
};

TEST(MemoryTextTest, Written_ComesBack) {
  EXPECT_EQ(DecodeMemory(EncodeMemory(kState)).value(), kState);
  EXPECT_EQ(DecodeMemory(EncodeMemory({})).value(), MemoryState{});
}

TEST(MemoryTextTest, AnythingElse_IsRefused) {
  EXPECT_FALSE(DecodeMemory(""));
  EXPECT_FALSE(DecodeMemory("incarnation 3 17\nhighest 900\nalarmed 1"));
  EXPECT_FALSE(DecodeMemory("incarnation 3 17\nhighest 900\nalarmed 2\n"));
  EXPECT_FALSE(DecodeMemory("incarnation 3 17\nhighest -1\nalarmed 1\n"));
  EXPECT_FALSE(DecodeMemory("incarnation 3 17\nhighest 99999999999999999999\nalarmed 1\n"));
  EXPECT_FALSE(DecodeMemory("incarnation 3 17\nhighest 900\nalarmed 1\nmore\n"));
}

TEST_F(MemoryFileTest, NoFile_IsAnEmptyMemory) {
  EXPECT_EQ(MemoryFile::Read(path()).value(), MemoryState{});
}

TEST_F(MemoryFileTest, Saved_IsThereWhenItIsSaidSo) {
  const auto file = MemoryFile::Create(loop.get(), path()).value();
  bool durable = false;
  file->Save(kState, [&] { durable = true; });
  while (!durable) loop->RunOnce(-1);
  EXPECT_EQ(MemoryFile::Read(path()).value(), kState);
  struct stat facts{};
  ASSERT_EQ(stat(path().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600U);
}

TEST_F(MemoryFileTest, Ended_HasWrittenTheLast) {
  MemoryFile::Create(loop.get(), path()).value()->Save(kState, {});
  EXPECT_EQ(MemoryFile::Read(path()).value(), kState);
}

TEST_F(MemoryFileTest, Spoilt_IsNotTakenForEmpty) {
  ASSERT_TRUE(ReplaceFile(path(), "garbage"));
  const auto read = MemoryFile::Read(path());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::kDataLoss);
}

TEST_F(MemoryFileTest, CannotBeWritten_IsNotCalledDurable) {
  bool durable = false;
  {
    const auto file = MemoryFile::Create(loop.get(), folder + "/missing/memory").value();
    file->Save(kState, [&] { durable = true; });
  }
  loop->RunOnce(0);
  EXPECT_FALSE(durable);
}

}  // namespace
}  // namespace gemel::keeper
