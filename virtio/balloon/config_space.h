// The balloon's wire formats (virtio 1.2, sections 5.5.3 to 5.5.6): feature bits, configuration
// space, statistics. All little-endian.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gemel::virtio {

// Feature bits (5.5.3).
inline constexpr std::uint64_t kBalloonFeatureStatistics = 1ull << 1;
inline constexpr std::uint64_t kBalloonFeatureDeflateOnOom = 1ull << 2;
inline constexpr std::uint64_t kBalloonFeatureReporting = 1ull << 5;

// Whatever the guest's pages are (5.5.6).
inline constexpr std::uint32_t kBalloonPageBytes = 4096;

// struct virtio_balloon_config (5.5.4), as far as the features we offer go.
struct [[gnu::packed]] BalloonConfigSpace {
  std::uint32_t num_pages;  // that the guest is to give up
  std::uint32_t actual;     // that it has given up; the driver writes it
};
static_assert(offsetof(BalloonConfigSpace, actual) == 4);
static_assert(sizeof(BalloonConfigSpace) == 8);

// What the inflate and deflate queues carry: an array of page numbers, 32 bits each (5.5.6).

// What the statistics queue carries: an array of these (5.5.6.3).
struct [[gnu::packed]] BalloonStatistic {
  std::uint16_t tag;
  std::uint64_t value;
};
static_assert(sizeof(BalloonStatistic) == 10);

// Tags (5.5.6.4).
enum class BalloonTag : std::uint16_t {
  kSwapIn = 0,   // bytes
  kSwapOut = 1,  // bytes
  kMajorFaults = 2,
  kMinorFaults = 3,
  kFree = 4,       // bytes that are not used for anything
  kTotal = 5,      // bytes
  kAvailable = 6,  // bytes that could be had without swapping
  kCaches = 7,     // bytes
  kHugePages = 8,  // successful allocations
  kHugePageFails = 9,
};
inline constexpr std::size_t kBalloonTags = 10;

}  // namespace gemel::virtio
