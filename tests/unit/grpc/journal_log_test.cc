// Lines as the journal gets them, from a socket of the test's own.
#include "grpc/journal_log.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/unique_fd.h"

namespace gemel::daemon {
namespace {

TEST(JournalEntry, Line_IsFields) {
  EXPECT_EQ(JournalEntry({LogLevel::kWarning, "manager", "it = so", "r-1"}),
            "PRIORITY=4\nSYSLOG_IDENTIFIER=gemeld\nGEMEL_COMPONENT=manager\n"
            "GEMEL_REQUEST_ID=r-1\nMESSAGE=it = so\n");
}

TEST(JournalEntry, LineOfNoCall_HasNoRequestId) {
  EXPECT_EQ(JournalEntry({LogLevel::kInfo, "api", "x", ""}).find("REQUEST_ID"), std::string::npos);
}

// Or a message could invent fields.
TEST(JournalEntry, Newline_IsPartOfItsField) {
  const std::string entry = JournalEntry({LogLevel::kInfo, "a", "x\nPRIORITY=0", ""});
  const std::string size = {12, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_TRUE(entry.ends_with("MESSAGE\n" + size + "x\nPRIORITY=0\n"));
}

TEST(StderrIsJournal, OnlyWhatSystemdSaid) {
  struct stat info{};
  ASSERT_EQ(fstat(STDERR_FILENO, &info), 0);
  EXPECT_TRUE(StderrIsJournal(fmt::format("{}:{}", info.st_dev, info.st_ino).c_str()));
  EXPECT_FALSE(StderrIsJournal("1:1"));
  EXPECT_FALSE(StderrIsJournal(nullptr));
}

TEST(LogToJournal, Lines_AreDatagramsWithTheIdOfTheirCall) {
  std::string folder = ::testing::TempDir() + "journalXXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/socket";
  EXPECT_FALSE(LogToJournal(path).has_value());
  const UniqueFd journal(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), static_cast<char*>(address.sun_path));
  // SAFETY: the kernel's address types are made to be cast so.
  ASSERT_EQ(bind(journal.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_TRUE(LogToJournal(path).has_value());
  {
    const LogRequest outer("first");
    const LogRequest inner("second");
    LOG_UNLIMITED(kInfo, "test", "hello");
  }
  LOG_UNLIMITED(kInfo, "test", "bye");
  std::array<char, 4096> buffer{};
  const auto read = [&] {
    const ssize_t n = recv(journal.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    return n < 0 ? std::string() : std::string(buffer.data(), static_cast<std::size_t>(n));
  };
  EXPECT_NE(read().find("GEMEL_REQUEST_ID=second\nMESSAGE=hello\n"), std::string::npos);
  EXPECT_EQ(read().find("GEMEL_REQUEST_ID"), std::string::npos);
  SetLogSink(nullptr);
  std::filesystem::remove_all(folder);
}

// A journald that does not read loses lines to stderr; nobody waits for it.
TEST(LogToJournal, JournalThatDoesNotRead_HoldsNobodyUp) {
  std::string folder = ::testing::TempDir() + "journalXXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/socket";
  const UniqueFd journal(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), static_cast<char*>(address.sun_path));
  // SAFETY: as above.
  ASSERT_EQ(bind(journal.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_TRUE(LogToJournal(path).has_value());
  ::testing::internal::CaptureStderr();
  for (int i = 0; i < 1000; ++i) LOG_UNLIMITED(kInfo, "test", "line {}", i);
  const std::string lost = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(lost.find("info test: line 999\n"), std::string::npos);
  SetLogSink(nullptr);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace gemel::daemon
