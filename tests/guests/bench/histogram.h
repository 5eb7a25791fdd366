// Counts of durations, to one part in 32. Fixed size, no division.
#pragma once
#include <cstddef>
#include <cstdint>

namespace bench {

class Histogram {
 public:
  void Add(std::uint64_t value) { ++counts_[Bucket(value)]; }
  void Clear() {
    for (std::uint64_t& count : counts_) count = 0;
  }
  // The least value that `thousandths` of all those added are not above, rounded up to its bucket's
  // end; 0 if none was added.
  std::uint64_t Percentile(std::uint64_t thousandths) const {
    std::uint64_t total = 0;
    for (const std::uint64_t count : counts_) total += count;
    std::uint64_t left = (total * thousandths + 999) / 1000;
    for (std::size_t bucket = 0; bucket < kBuckets && left > 0; ++bucket) {
      if (counts_[bucket] >= left) return End(bucket);
      left -= counts_[bucket];
    }
    return 0;
  }

 private:
  static constexpr unsigned kBits = 5;
  static constexpr std::size_t kBuckets = (64 - kBits + 1) << kBits;

  // Values below 2^kBits are their own buckets; of the others the highest bit and the kBits after.
  static std::size_t Bucket(std::uint64_t value) {
    if (value >> kBits == 0) return static_cast<std::size_t>(value);
    const unsigned top = 63u - static_cast<unsigned>(__builtin_clzll(value));
    const unsigned shift = top - kBits;
    return (std::size_t{shift} << kBits) + static_cast<std::size_t>(value >> shift);
  }
  static std::uint64_t End(std::size_t bucket) {
    const std::size_t shift = bucket >> kBits;
    if (shift == 0) return bucket;
    const std::uint64_t first = (bucket & ((1u << kBits) - 1)) | (1u << kBits);
    return ((first + 1) << (shift - 1)) - 1;
  }

  std::uint64_t counts_[kBuckets] = {};
};

}  // namespace bench
