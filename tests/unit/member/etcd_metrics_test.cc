#include "member/etcd_metrics.h"

#include <gtest/gtest.h>

namespace gemel::member {
namespace {

// So many of at most 1 ms, of at most 8 ms, and of all.
EtcdMetrics Took(std::uint64_t fast, std::uint64_t medium, std::uint64_t all) {
  const std::string text = fmt::format(
      "# HELP etcd_disk_wal_fsync_duration_seconds x\n"
      "etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"0.001\"}} {}\n"
      "etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"0.008\"}} {}\n"
      "etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"+Inf\"}} {}\n"
      "etcd_disk_wal_fsync_duration_seconds_count {}\n"
      "etcd_server_leader_changes_seen_total 3\n",
      fast, medium, all, all);
  return ParseEtcdMetrics(text).value();
}

TEST(EtcdMetricsTest, Text_IsRead) {
  const EtcdMetrics metrics = Took(1, 2, 3);
  ASSERT_EQ(metrics.fsync.buckets.size(), 3U);
  EXPECT_EQ(metrics.fsync.buckets[2].count, 3U);
  EXPECT_EQ(metrics.leader_changes, 3U);
  EXPECT_TRUE(metrics.commit.buckets.empty());
}

TEST(EtcdMetricsTest, Rubbish_IsRefused) {
  EXPECT_FALSE(ParseEtcdMetrics(""));
  EXPECT_FALSE(ParseEtcdMetrics("HTTP/1.0 404 Not Found\r\n\r\n"));
  EXPECT_FALSE(ParseEtcdMetrics("etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001"));
}

TEST(EtcdWatchTest, NothingWritten_IsNotKnown) {
  EtcdWatch watch;
  EXPECT_EQ(watch.fsync_p99_us(), 0);
  watch.Add(Took(5, 5, 5), 0);
  watch.Add(Took(5, 5, 5), 2'000);
  EXPECT_EQ(watch.fsync_p99_us(), 0);
}

TEST(EtcdWatchTest, OneOfAHundred_MayBeSlow) {
  EtcdWatch watch;
  watch.Add(Took(0, 0, 0), 0);
  watch.Add(Took(99, 99, 100), 2'000);
  EXPECT_EQ(watch.fsync_p99_us(), 1'000);
  watch.Add(Took(99, 100, 102), 4'000);
  EXPECT_EQ(watch.fsync_p99_us(), 16'000);
}

TEST(EtcdWatchTest, WhatIsOlderThanAMinute_IsForgotten) {
  EtcdWatch watch;
  watch.Add(Took(0, 0, 0), 0);
  watch.Add(Took(0, 0, 50), 2'000);
  watch.Add(Took(100, 100, 150), 61'000);
  EXPECT_EQ(watch.fsync_p99_us(), 16'000);
  watch.Add(Took(200, 200, 250), 63'000);
  EXPECT_EQ(watch.fsync_p99_us(), 1'000);
}

TEST(EtcdWatchTest, EtcdBeganAnew_CountsFromNothing) {
  EtcdWatch watch;
  watch.Add(Took(1000, 1000, 1000), 0);
  watch.Add(Took(0, 4, 4), 2'000);
  watch.Add(Took(0, 8, 8), 4'000);
  EXPECT_EQ(watch.fsync_p99_us(), 8'000);
}

}  // namespace
}  // namespace gemel::member
