#include "cli/client/device_words.h"

#include <gtest/gtest.h>

#include <string>

namespace gemel::cli {
namespace {

std::string ErrorOf(const auto& result) { return result ? "" : result.error().message; }

TEST(DiskWord, NameAndWhatIsBehindIt_AreItsSpec) {
  const auto disk = ParseDiskWord("root,readonly,direct,read-bps=10M,write-iops=100");
  ASSERT_TRUE(disk.has_value());
  EXPECT_EQ(disk->disk(), "root");
  EXPECT_TRUE(disk->read_only() && disk->direct());
  EXPECT_EQ(disk->limit().read_bytes_per_second(), 10U << 20);
  EXPECT_EQ(disk->limit().write_operations_per_second(), 100U);
}

TEST(DiskWord, WithoutLimits_HasNone) { EXPECT_FALSE(ParseDiskWord("root")->has_limit()); }

TEST(DiskWord, Lun_IsOfATarget) {
  const auto disk = ParseDiskWord("iscsi=san/3,readonly");
  ASSERT_TRUE(disk.has_value());
  EXPECT_EQ(disk->iscsi().target(), "san");
  EXPECT_EQ(disk->iscsi().lun(), 3U);
  EXPECT_TRUE(disk->read_only());
}

TEST(DiskWord, BadWords_NameTheValue) {
  EXPECT_EQ(ErrorOf(ParseDiskWord("iscsi=san")),
            "disk: iscsi=san: not iscsi=TARGET/LUN, such as iscsi=san/0");
  EXPECT_NE(ErrorOf(ParseDiskWord("root,fast")).find("disk: fast: unknown"), std::string::npos);
  EXPECT_NE(ErrorOf(ParseDiskWord("root,read-bps=much")).find("much"), std::string::npos);
}

TEST(NicWord, NetworkAndWhatIsBehindIt_AreItsSpec) {
  const auto nic =
      ParseNicWord("lan,mac=02:00:00:00:00:01,ip=10.88.0.9,vlan=7,queues=2,link=down,rx=1M,tx=2M");
  ASSERT_TRUE(nic.has_value());
  EXPECT_EQ(nic->network(), "lan");
  EXPECT_EQ(nic->mac_address(), "02:00:00:00:00:01");
  EXPECT_EQ(nic->ip_address(), "10.88.0.9");
  EXPECT_EQ(nic->vlan(), 7U);
  EXPECT_EQ(nic->queues(), 2U);
  EXPECT_TRUE(nic->link_down());
  EXPECT_EQ(nic->receive_limit().bytes_per_second(), 1U << 20);
  EXPECT_EQ(nic->transmit_limit().bytes_per_second(), 2U << 20);
}

TEST(NicWord, User_IsNoNetwork) {
  const auto nic = ParseNicWord("user,link=up");
  ASSERT_TRUE(nic.has_value());
  EXPECT_EQ(nic->network(), "");
  EXPECT_FALSE(nic->link_down());
}

TEST(NicWord, BadWords_NameTheValue) {
  EXPECT_NE(ErrorOf(ParseNicWord("lan,vlan=4095")).find("4095"), std::string::npos);
  EXPECT_NE(ErrorOf(ParseNicWord("lan,link=off")).find("nic: link=off: unknown"),
            std::string::npos);
  EXPECT_NE(ErrorOf(ParseNicWord("lan,mac=")).find("nic: mac=: unknown"), std::string::npos);
}

TEST(Cores, Thousandths_AreExact) {
  EXPECT_EQ(ParseCores("cpu-limit", "1.5").value(), 1500U);
  EXPECT_EQ(ParseCores("cpu-limit", "2").value(), 2000U);
  EXPECT_EQ(ParseCores("cpu-limit", "0.125").value(), 125U);
  for (const char* bad : {"", ".5", "1.", "1.2345", "-1", "1,5", "a"})
    EXPECT_NE(ErrorOf(ParseCores("cpu-limit", bad)), "") << bad;
}

TEST(CpuList, RangesAndNumbers_AreAllOfThem) {
  EXPECT_EQ(ParseCpuList("cpu-pin", "0-2,5").value(), (std::vector<std::uint32_t>{0, 1, 2, 5}));
  for (const char* bad : {"", "2-1", "0,,1", "a", "0-9999", "0-8000"})
    EXPECT_NE(ErrorOf(ParseCpuList("cpu-pin", bad)), "") << bad;
}

}  // namespace
}  // namespace gemel::cli
