// The block device's wire formats (virtio 1.2, sections 5.2.3 to 5.2.6): feature bits,
// configuration space, request header, discard segment, status. All little-endian.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gemel::virtio {

// Feature bits (5.2.3).
inline constexpr std::uint64_t kBlkFeatureSegMax = 1ull << 2;
inline constexpr std::uint64_t kBlkFeatureReadOnly = 1ull << 5;
inline constexpr std::uint64_t kBlkFeatureBlkSize = 1ull << 6;
inline constexpr std::uint64_t kBlkFeatureFlush = 1ull << 9;
inline constexpr std::uint64_t kBlkFeatureTopology = 1ull << 10;
inline constexpr std::uint64_t kBlkFeatureMq = 1ull << 12;
inline constexpr std::uint64_t kBlkFeatureDiscard = 1ull << 13;
inline constexpr std::uint64_t kBlkFeatureWriteZeroes = 1ull << 14;

// The protocol counts in these, whatever blk_size says (5.2.6).
inline constexpr std::uint32_t kSectorBytes = 512;

// struct virtio_blk_config (5.2.4). Fields of features that are not offered are 0.
struct [[gnu::packed]] BlkConfig {
  std::uint64_t capacity;  // sectors
  std::uint32_t size_max;
  std::uint32_t seg_max;
  std::uint16_t cylinders;
  std::uint8_t heads;
  std::uint8_t sectors;
  std::uint32_t blk_size;           // bytes in a logical block
  std::uint8_t physical_block_exp;  // log2 of logical blocks in a physical one
  std::uint8_t alignment_offset;    // logical blocks
  std::uint16_t min_io_size;        // logical blocks
  std::uint32_t opt_io_size;        // logical blocks
  std::uint8_t writeback;
  std::uint8_t unused0;
  std::uint16_t num_queues;
  std::uint32_t max_discard_sectors;
  std::uint32_t max_discard_seg;
  std::uint32_t discard_sector_alignment;
  std::uint32_t max_write_zeroes_sectors;
  std::uint32_t max_write_zeroes_seg;
  std::uint8_t write_zeroes_may_unmap;
  std::uint8_t unused1[3];
};
static_assert(offsetof(BlkConfig, seg_max) == 12);
static_assert(offsetof(BlkConfig, blk_size) == 20);
static_assert(offsetof(BlkConfig, physical_block_exp) == 24);
static_assert(offsetof(BlkConfig, writeback) == 32);
static_assert(offsetof(BlkConfig, num_queues) == 34);
static_assert(offsetof(BlkConfig, max_discard_sectors) == 36);
static_assert(offsetof(BlkConfig, max_write_zeroes_sectors) == 48);
static_assert(offsetof(BlkConfig, write_zeroes_may_unmap) == 56);
static_assert(sizeof(BlkConfig) == 60);

// A request (5.2.6):
//
//   device-readable            device-writable
//   +--------+---------------+ +---------------+--------+
//   | header | data (OUT …)  | | data (IN …)   | status |
//   +--------+---------------+ +---------------+--------+
//
// The parts may be split over descriptors in any way (2.7.4).
enum class BlkRequestType : std::uint32_t {
  kIn = 0,
  kOut = 1,
  kFlush = 4,
  kGetId = 8,
  kDiscard = 11,
  kWriteZeroes = 13,
};

struct [[gnu::packed]] BlkRequestHeader {
  std::uint32_t type;
  std::uint32_t reserved;
  std::uint64_t sector;
};
static_assert(sizeof(BlkRequestHeader) == 16);

// The data of kDiscard and kWriteZeroes: an array of these.
struct [[gnu::packed]] BlkSegment {
  std::uint64_t sector;
  std::uint32_t num_sectors;
  std::uint32_t flags;
};
static_assert(sizeof(BlkSegment) == 16);
inline constexpr std::uint32_t kBlkSegmentUnmap = 1;

inline constexpr std::size_t kBlkIdBytes = 20;

enum class BlkStatus : std::uint8_t { kOk = 0, kIoError = 1, kUnsupported = 2 };

}  // namespace gemel::virtio
