#include "virtio/balloon/request.h"

#include <algorithm>

#include "virtio/queue/virt_queue.h"

namespace gemel::virtio {

void ParseBalloonPages(std::span<const iovec> readable, std::vector<PageRange>& ranges) {
  std::array<std::uint32_t, kMaxBalloonPages> numbers;
  const std::size_t bytes = CopyFromIov(readable, 0, std::as_writable_bytes(std::span(numbers)));
  const auto pages = std::span(numbers).first(bytes / sizeof(std::uint32_t));
  std::ranges::sort(pages);
  ranges.clear();
  for (const std::uint32_t page : pages) {
    const std::uint64_t at = std::uint64_t{page} * kBalloonPageBytes;
    if (!ranges.empty()) {
      const std::uint64_t end = ranges.back().start.value + ranges.back().bytes;
      if (at < end) continue;
      if (at == end) {
        ranges.back().bytes += kBalloonPageBytes;
        continue;
      }
    }
    ranges.push_back({GuestAddress{at}, kBalloonPageBytes});
  }
}

BalloonStatistics ParseBalloonStatistics(std::span<const iovec> readable) {
  // Linux sends 10 to 16; there is no need to read a driver's gigabyte of them.
  std::array<BalloonStatistic, 64> entries;
  const std::size_t bytes = CopyFromIov(readable, 0, std::as_writable_bytes(std::span(entries)));
  BalloonStatistics statistics;
  for (std::size_t i = 0; i < bytes / sizeof(BalloonStatistic); ++i) {
    const std::uint16_t tag = entries[i].tag;
    if (tag < statistics.size()) statistics[tag] = std::uint64_t{entries[i].value};
  }
  return statistics;
}

}  // namespace gemel::virtio
