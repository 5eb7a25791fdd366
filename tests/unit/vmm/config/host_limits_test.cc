#include "vmm/config/host_limits.h"

#include <gtest/gtest.h>

namespace gemel {
namespace {

constexpr std::string_view kMeminfo =
    "MemTotal:       24117248 kB\n"
    "MemFree:         1048576 kB\n"
    "MemAvailable:   12582912 kB\n"
    "HugePages_Total:     512\n"
    "HugePages_Free:      256\n"
    "Hugepagesize:       2048 kB\n";

MachineConfig Config(std::uint64_t memory) {
  MachineConfig config;
  config.memory.size = memory;
  return config;
}
HostLimits Limits() { return *ParseMeminfo(kMeminfo); }

std::string Problem(const Status& status) { return status ? "" : status.error().message; }

TEST(ParseMeminfo, KernelsText_Understood) {
  const HostLimits limits = Limits();
  EXPECT_EQ(limits.memory_bytes, 23ull << 30);
  EXPECT_EQ(limits.available_bytes, 12ull << 30);
  EXPECT_EQ(limits.hugepage_bytes, 1ull << 30);
  EXPECT_EQ(limits.free_hugepage_bytes, 512ull << 20);
}
TEST(ParseMeminfo, OtherHugepageSize_NotKnown) {
  const auto limits =
      ParseMeminfo("MemTotal: 1024 kB\nHugePages_Free: 4\nHugepagesize: 1048576 kB\n");
  ASSERT_TRUE(limits);
  EXPECT_FALSE(limits->hugepages_known);
}
TEST(ParseMeminfo, NoMemTotal_Error) {
  EXPECT_FALSE(ParseMeminfo(""));
  EXPECT_FALSE(ParseMeminfo("MemTotalX: 5 kB\nMemTotal\n"));
  EXPECT_FALSE(ParseMeminfo("MemTotal: many kB"));
  EXPECT_FALSE(ParseMeminfo("MemTotal:"));
}
TEST(ParseMeminfo, AbsurdNumbers_DoNotOverflow) {
  const auto limits = ParseMeminfo(
      "MemTotal: 18446744073709551615 kB\nHugepagesize: 2048 kB\n"
      "HugePages_Total: 18446744073709551615\n");
  ASSERT_TRUE(limits);
  EXPECT_EQ(limits->memory_bytes, 1ull << 50);
  EXPECT_EQ(limits->hugepage_bytes, 1ull << 61);
}
TEST(ReadHostMemory, ThisHost_HasMemory) {
  const auto limits = ReadHostMemory();
  ASSERT_TRUE(limits);
  EXPECT_GT(limits->memory_bytes, 0u);
}

TEST(CheckHostLimits, Fits_Ok) {
  EXPECT_EQ(Problem(CheckHostLimits(Config(1ull << 30), Limits())), "");
}
TEST(CheckHostLimits, MoreThanHost_NamesBoth) {
  EXPECT_EQ(Problem(CheckHostLimits(Config(900ull << 30), Limits())),
            "memory: 900G: this host has 23 GiB");
}
TEST(CheckHostLimits, NothingKnown_Ok) {
  EXPECT_EQ(Problem(CheckHostLimits(Config(900ull << 30), HostLimits{})), "");
}
TEST(CheckHostLimits, TooFewHugepages_NamesWhatIsFree) {
  MachineConfig config = Config(1ull << 30);
  config.memory.hugepages = true;
  EXPECT_EQ(Problem(CheckHostLimits(config, Limits())),
            "memory: 1G,hugepages=on: this host has 512 MiB in free 2 MiB pages");
}
TEST(CheckHostLimits, HoleCounts_BeyondAddressBits) {
  HostLimits limits;
  limits.physical_address_bits = 36;
  // 63 GiB end at 64 GiB, because the hole takes one.
  EXPECT_EQ(Problem(CheckHostLimits(Config(63ull << 30), limits)), "");
  EXPECT_EQ(Problem(CheckHostLimits(Config((63ull << 30) + (1 << 20)), limits)),
            "memory: 64513M: beyond the 36 address bits that this host gives a VM");
}
TEST(CheckHostLimits, MoreCpusThanKvmGives_NamesBoth) {
  HostLimits limits;
  limits.max_cpus = 8;
  MachineConfig config = Config(1ull << 30);
  config.cpus = 9;
  EXPECT_EQ(Problem(CheckHostLimits(config, limits)),
            "cpus: 9: more than this host can give one VM (8)");
}

}  // namespace
}  // namespace gemel
