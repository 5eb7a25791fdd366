#include "grpc/access/audit_log.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <semaphore>
#include <thread>
#include <vector>

#include "base/file_util.h"

namespace gemel::access {
namespace {

AuditRecord Record() {
  AuditRecord record;
  record.caller = {Caller::Kind::kCertificate, "cert:alice", {}, "192.0.2.1:5"};
  record.method = "/gemel.v1.VirtualMachines/Start";
  record.resource = "projects/web/vms/db";
  record.request_id = "41f0";
  return record;
}

class AuditLogTest : public testing::Test {
 protected:
  AuditLogTest() : path_(testing::TempDir() + "audit.log") { unlink(path_.c_str()); }
  std::string Text() const { return ReadTextFile(path_).value_or(""); }
  std::size_t Lines() const { return static_cast<std::size_t>(std::ranges::count(Text(), '\n')); }

  const std::string path_;
  const SystemClock clock_;
};

TEST_F(AuditLogTest, Line_SaysWhoFromWhereWhatAndOutcome) {
  EXPECT_EQ(FormatAuditLine(Record(), 1'795'386'664'123'456'789),
            R"({"time":"2026-11-22T22:31:04.123456Z","who":"cert:alice","from":"192.0.2.1:5",)"
            R"("method":"/gemel.v1.VirtualMachines/Start","resource":"projects/web/vms/db",)"
            R"("outcome":"OK","message":"","request_id":"41f0"})"
            "\n");
}

TEST_F(AuditLogTest, LineBreaksInWhatAPeerSends_StayOneLine) {
  AuditRecord record = Record();
  record.resource = "projects/a\n{\"who\":\"forged\"}";
  record.message = std::string(100'000, 'x');
  const std::string line = FormatAuditLine(record, 0);
  EXPECT_EQ(std::ranges::count(line, '\n'), 1);
  EXPECT_LT(line.size(), 2000U);
}

TEST_F(AuditLogTest, Append_KeepsWhatWasThere) {
  for (int i = 0; i < 2; ++i) {
    auto log = AuditLog::Open(path_, &clock_);
    ASSERT_TRUE(log.has_value());
    ASSERT_TRUE((*log)->Append(Record()).has_value());
  }
  EXPECT_EQ(Lines(), 2U);
  struct stat info{};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(AuditLogTest, MovedAway_BeginsANewFile) {
  auto log = AuditLog::Open(path_, &clock_);
  ASSERT_TRUE((*log)->Append(Record()).has_value());
  ASSERT_EQ(rename(path_.c_str(), (path_ + ".1").c_str()), 0);
  ASSERT_TRUE((*log)->Append(Record()).has_value());
  EXPECT_EQ(Lines(), 1U);
  EXPECT_GT(ReadTextFile(path_ + ".1").value().size(), 0U);
}

TEST_F(AuditLogTest, ManyThreads_WriteWholeLines) {
  auto log = AuditLog::Open(path_, &clock_);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&log] {
      for (int n = 0; n < 50; ++n) EXPECT_TRUE((*log)->Append(Record()).has_value());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Lines(), 400U);
}

// A disk that takes as long as the test wants.
std::counting_semaphore<> begun(0);
std::counting_semaphore<> go(0);
std::atomic<int> syncs = 0;
int HeldSync(int) {
  begun.release();
  go.acquire();
  ++syncs;
  return 0;
}

TEST_F(AuditLogTest, WhenDurable_ComesAfterTheSyncOfItsLine) {
  auto log = AuditLog::Open(path_, &clock_, HeldSync);
  std::atomic<bool> told = false;
  ASSERT_TRUE((*log)->Append(Record()).has_value());
  begun.acquire();
  (*log)->WhenDurable([&] { told = true; });
  EXPECT_FALSE(told);
  go.release();
  log->reset();
  EXPECT_TRUE(told);
}

TEST_F(AuditLogTest, LinesOfOneSync_ShareTheNext) {
  syncs = 0;
  auto log = AuditLog::Open(path_, &clock_, HeldSync);
  std::atomic<int> told = 0;
  ASSERT_TRUE((*log)->Append(Record()).has_value());
  begun.acquire();
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE((*log)->Append(Record()).has_value());
    (*log)->WhenDurable([&] { ++told; });
  }
  go.release();
  begun.acquire();
  EXPECT_EQ(told, 0);
  go.release();
  log->reset();
  EXPECT_EQ(told, 100);
  EXPECT_EQ(syncs, 2);
}

TEST_F(AuditLogTest, NothingToSync_IsDurableAtOnce) {
  auto log = AuditLog::Open(path_, &clock_, HeldSync);
  bool told = false;
  (*log)->WhenDurable([&] { told = true; });
  EXPECT_TRUE(told);
}

TEST_F(AuditLogTest, UnwritableFile_IsAnError) {
  EXPECT_FALSE(AuditLog::Open("/no/such/folder/audit", &clock_).has_value());
  auto full = AuditLog::Open("/dev/full", &clock_);
  ASSERT_TRUE(full.has_value());
  EXPECT_FALSE((*full)->Append(Record()).has_value());
}

}  // namespace
}  // namespace gemel::access
