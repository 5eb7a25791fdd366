#include "grpc/vm_statistics.h"

#include <gtest/gtest.h>

namespace gemel::daemon {
namespace {

TEST(VmStatistics, Smaps_CountWhatIsNotGuestMemory) {
  EXPECT_EQ(ParseResidentBesideGuest("55d0-55e0 r--p 00000000 08:01 7   /usr/bin/gemel-vmm\n"
                                     "Size:                 64 kB\n"
                                     "Rss:                  12 kB\n"
                                     "VmFlags: rd mr mw me\n"
                                     "7f00-7f10 rw-p 00000000 00:00 0 \n"
                                     "Rss:              524288 kB\n"
                                     "VmFlags: rd wr mr mw me ac dd hg\n"
                                     "7f20-7f21 rw-p 00000000 00:00 0 \n"
                                     "Rss:                   8 kB\n"
                                     "VmFlags: rd wr mr mw me ac"),
            20u << 10);
}

TEST(VmStatistics, TextThatIsNoSmaps_CountsNothing) {
  EXPECT_EQ(ParseResidentBesideGuest(""), 0u);
  EXPECT_EQ(ParseResidentBesideGuest("Rss: \nVmFlags:"), 0u);
}

TEST(VmStatistics, CountersOfAKind_AreSummed) {
  VmStatistics statistics;
  statistics.devices = {{"blk0", {{"reads", 3}, {"writes", 9}}},
                        {"blk1", {{"reads", 4}}},
                        {"net0", {{"reads", 100}}}};
  EXPECT_EQ(CounterOf(statistics, DeviceKind::kDisk, "reads"), 7u);
  EXPECT_EQ(CounterOf(statistics, DeviceKind::kDisk, "none"), 0u);
}

TEST(VmStatistics, ProcessThatInventsNames_CannotMakeUsKeepThem) {
  VmInfo info;
  info.vcpus.resize(2);
  for (int i = 0; i < 1000; ++i) {
    info.vcpus[0].exits.emplace_back(fmt::format("reason-{}", i), 1);
    info.devices.emplace_back().name = fmt::format("blk{}", i);
    info.devices.emplace_back().name = "name\"} 1\n";
  }
  info.vcpus[1].exits = {{"reason-0", 5}, {"no\nword", 7}};
  const VmStatistics statistics = GatherStatistics(info, 0, 0);
  EXPECT_LE(statistics.exits.size(), 33u);
  EXPECT_EQ(statistics.exits.front(), (std::pair<std::string, std::uint64_t>("other", 975)));
  EXPECT_EQ(statistics.devices.size(), 64u);
}

}  // namespace
}  // namespace gemel::daemon
