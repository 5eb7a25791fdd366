#include "virtio/balloon/request.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace gemel::virtio {
namespace {

std::vector<PageRange> Pages(std::vector<std::uint32_t> numbers) {
  const iovec iov{numbers.data(), numbers.size() * sizeof(std::uint32_t)};
  std::vector<PageRange> ranges{{GuestAddress{1}, 1}};
  ParseBalloonPages({&iov, 1}, ranges);
  return ranges;
}

using Ranges = std::vector<PageRange>;

TEST(BalloonPages, NeighboursInAnyOrder_MakeOneRange) {
  EXPECT_EQ(Pages({7, 5, 6}), (Ranges{{GuestAddress{5 * 4096}, 3 * 4096}}));
}

TEST(BalloonPages, PagesThatComeTwice_CountOnce) {
  EXPECT_EQ(Pages({5, 5, 9, 5}),
            (Ranges{{GuestAddress{5 * 4096}, 4096}, {GuestAddress{9 * 4096}, 4096}}));
}

TEST(BalloonPages, LargestNumber_DoesNotWrap) {
  EXPECT_EQ(Pages({0xffff'ffff}), (Ranges{{GuestAddress{0xffff'ffffull << 12}, 4096}}));
}

TEST(BalloonPages, None_AreNone) { EXPECT_EQ(Pages({}), Ranges{}); }

TEST(BalloonPages, HalfANumberAtTheEnd_IsPassedOver) {
  std::uint32_t numbers[2] = {3, 4};
  const iovec iov{numbers, 7};
  Ranges ranges;
  ParseBalloonPages({&iov, 1}, ranges);
  EXPECT_EQ(ranges, (Ranges{{GuestAddress{3 * 4096}, 4096}}));
}

TEST(BalloonPages, MoreThanTheMost_AreCutOff) {
  std::vector<std::uint32_t> numbers(kMaxBalloonPages + 100);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<std::uint32_t>(i);
  EXPECT_EQ(Pages(numbers), (Ranges{{GuestAddress{0}, kMaxBalloonPages * 4096}}));
}

TEST(BalloonStatistics, KnownTags_AreTaken_JunkIsNot) {
  std::string bytes;
  const auto add = [&](std::uint16_t tag, std::uint64_t value) {
    const BalloonStatistic entry{tag, value};
    bytes.append(reinterpret_cast<const char*>(&entry), sizeof entry);  // SAFETY: bytes of a POD
  };
  add(4, 100);
  add(0xffff, 1);
  add(10, 2);
  add(9, 3);
  add(4, 200);
  bytes += "half";
  const iovec iov{bytes.data(), bytes.size()};
  const BalloonStatistics statistics = ParseBalloonStatistics({&iov, 1});
  EXPECT_EQ(statistics[4], 200u);
  EXPECT_EQ(statistics[9], 3u);
  EXPECT_EQ(statistics[0], std::nullopt);
}

}  // namespace
}  // namespace gemel::virtio
