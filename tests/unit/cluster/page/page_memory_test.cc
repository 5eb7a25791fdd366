#include "cluster/page/page_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>

namespace gemel::cluster {
namespace {

constexpr SessionId kSession{3, 7};

DeadlinePage Until(std::int64_t us) {
  DeadlinePage page;
  page.session = kSession;
  page.deadline = {us};
  page.poisoned = false;
  return page;
}

PageReader ReaderOf(const PageWriter& writer) {
  return PageReader::Map(writer.OpenForReader().value()).value();
}

TEST(PageMemoryTest, NewPage_IsReadAsItWasMade) {
  const PageWriter writer = PageWriter::Create(Until(2'500'000)).value();
  const DeadlinePage read = ReaderOf(writer).Read();
  EXPECT_EQ(read.session, kSession);
  EXPECT_EQ(read.deadline, Time{2'500'000});
  EXPECT_FALSE(read.poisoned);
}

TEST(PageMemoryTest, LaterDeadline_IsSeenByAnOlderReader) {
  PageWriter writer = PageWriter::Create(Until(100)).value();
  const PageReader reader = ReaderOf(writer);
  writer.Publish(Until(200));
  EXPECT_EQ(reader.Read().deadline, Time{200});
}

TEST(PageMemoryTest, EarlierDeadline_ChangesNothing) {
  PageWriter writer = PageWriter::Create(Until(200)).value();
  writer.Publish(Until(100));
  EXPECT_EQ(ReaderOf(writer).Read().deadline, Time{200});
}

TEST(PageMemoryTest, PoisonedPage_StaysSo) {
  PageWriter writer = PageWriter::Create(Until(200)).value();
  const PageReader reader = ReaderOf(writer);
  writer.Publish(DeadlinePage{kSession, kNever, true});
  writer.Publish(Until(300));
  EXPECT_TRUE(reader.Read().poisoned);
  EXPECT_FALSE(reader.Read().Allows(kSession, Time{0}));
}

TEST(PageMemoryTest, WriterGone_PageIsPoisoned) {
  PageReader reader;
  {
    const PageWriter writer = PageWriter::Create(Until(200)).value();
    reader = ReaderOf(writer);
  }
  EXPECT_TRUE(reader.Read().poisoned);
}

TEST(PageMemoryTest, ReaderWithoutAPage_AllowsNothing) {
  EXPECT_FALSE(PageReader().Read().Allows(SessionId{}, kNever));
}

TEST(PageMemoryTest, GivenDescriptor_CannotWriteResizeOrMapForWriting) {
  const PageWriter writer = PageWriter::Create(Until(200)).value();
  const UniqueFd fd = writer.OpenForReader().value();
  EXPECT_EQ(mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0), MAP_FAILED);
  EXPECT_LT(pwrite(fd.get(), "x", 1, 32), 0);
  EXPECT_LT(ftruncate(fd.get(), 0), 0);
  EXPECT_LT(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
}

TEST(PageMemoryTest, GivenDescriptorOpenedAnewForWriting_StillCannotWrite) {
  const PageWriter writer = PageWriter::Create(Until(200)).value();
  const UniqueFd fd = writer.OpenForReader().value();
  const UniqueFd again(open(fmt::format("/proc/self/fd/{}", fd.get()).c_str(), O_RDWR));
  if (!again) return;  // refused already
  EXPECT_EQ(mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, again.get(), 0),
            MAP_FAILED);
  EXPECT_LT(pwrite(again.get(), "x", 1, 32), 0);
}

// ---- foreign pages ------------------------------------------------------------------------------

UniqueFd ForeignPage(std::size_t bytes, int seals) {
  UniqueFd fd(memfd_create("foreign", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  EXPECT_EQ(fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  return fd;
}
constexpr int kAllSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

TEST(PageMemoryTest, UnsealedPage_IsRefused) {
  EXPECT_FALSE(PageReader::Map(ForeignPage(kPageBytes, F_SEAL_SHRINK | F_SEAL_GROW)));
}

TEST(PageMemoryTest, PageOfAnotherSize_IsRefused) {
  EXPECT_FALSE(PageReader::Map(ForeignPage(kPageBytes / 2, kAllSeals)));
  EXPECT_FALSE(PageReader::Map(ForeignPage(kPageBytes * 2, kAllSeals)));
}

TEST(PageMemoryTest, PageOfZeros_IsRefused) {
  EXPECT_FALSE(PageReader::Map(ForeignPage(kPageBytes, kAllSeals)));
}

TEST(PageMemoryTest, WhatIsNoMemory_IsRefused) {
  EXPECT_FALSE(PageReader::Map(UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC))));
  EXPECT_FALSE(PageReader::Map(UniqueFd()));
}

// For TSan, and for the order: a reader sees deadlines only rise, until the page is poisoned.
TEST(PageMemoryTest, ReaderOnAnotherThread_SeesOnlyRisingDeadlines) {
  PageWriter writer = PageWriter::Create(Until(1)).value();
  const PageReader reader = ReaderOf(writer);
  bool rising = true;
  std::thread thread([&] {
    Time last{0};
    for (DeadlinePage page = reader.Read(); !page.poisoned; page = reader.Read()) {
      rising = rising && page.deadline >= last;
      last = page.deadline;
    }
  });
  for (std::int64_t us = 2; us < 100'000; ++us) writer.Publish(Until(us));
  writer.Poison();
  thread.join();
  EXPECT_TRUE(rising);
}

}  // namespace
}  // namespace gemel::cluster
