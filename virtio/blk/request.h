// What a block request's chain asks for (virtio 1.2, section 5.2.6). Pure: no I/O, no state.
//
// Multiple segments in one discard or write-zeroes command are not implemented; the configuration
// space says so (max_discard_seg and max_write_zeroes_seg are 1).
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <expected>
#include <span>
#include <vector>

#include "virtio/blk/config_space.h"

namespace gemel::virtio {

// What a driver may ask of this disk.
struct BlkLimits {
  std::uint64_t capacity = 0;  // bytes
  std::uint32_t logical_block_size = 512;
  bool read_only = false;
  std::uint64_t features = 0;  // negotiated
};

// The most that one read or write may move. Descriptors may name the same RAM again and again, so
// that a small guest could ask for 4 GiB at once; drivers stay below 4 MiB. More is IOERR.
inline constexpr std::uint64_t kMaxDataBytes = 64u << 20;

// The most that one discard or write-zeroes segment may cover: a reset waits for
// what is in flight, which is at most so many of these as the backend takes at once.
inline constexpr std::uint32_t kMaxRangeSectors = 1u << 21;  // 1 GiB

struct BlkRequest {
  enum class Kind : std::uint8_t { kRead, kWrite, kFlush, kGetId, kDiscard, kWriteZeroes };
  Kind kind = Kind::kFlush;
  bool may_unmap = false;    // kWriteZeroes
  std::uint64_t offset = 0;  // bytes; kRead, kWrite, kDiscard, kWriteZeroes
  std::uint64_t length = 0;  // bytes, the same; kGetId: room for the id

  friend bool operator==(const BlkRequest&, const BlkRequest&) = default;
};
const char* ToString(BlkRequest::Kind kind);

// Reads header and segment from guest memory once, and checks them against the limits. The last
// writable byte, which is the status and must be there, counts as no data. The error is the status
// to answer with: kUnsupported for what we do not know or offer, else kIoError.
std::expected<BlkRequest, BlkStatus> ParseBlkRequest(std::span<const iovec> readable,
                                                     std::span<const iovec> writable,
                                                     const BlkLimits& limits);

// The iovecs of `length` bytes after `skip`: part of `iov` itself if segments begin and end there,
// as they do with every driver we know, else built in `storage`. REQUIRES: the bytes are there.
std::span<const iovec> SliceIov(std::span<const iovec> iov, std::uint64_t skip,
                                std::uint64_t length, std::vector<iovec>& storage);

}  // namespace gemel::virtio
