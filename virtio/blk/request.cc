#include "virtio/blk/request.h"

#include <algorithm>
#include <cstddef>

#include "virtio/queue/virt_queue.h"

namespace gemel::virtio {
namespace {

using Parsed = std::expected<BlkRequest, BlkStatus>;
using Kind = BlkRequest::Kind;

std::unexpected<BlkStatus> IoError() { return std::unexpected(BlkStatus::kIoError); }
std::unexpected<BlkStatus> Unsupported() { return std::unexpected(BlkStatus::kUnsupported); }

// Copies a T at `skip`; false if the buffers end first.
template <class T>
bool CopyIn(std::span<const iovec> from, std::size_t skip, T& out) {
  return CopyFromIov(from, skip, std::as_writable_bytes(std::span(&out, 1))) == sizeof out;
}

// 2.7.4.2: no chain is longer than 2^32 bytes, its header or status included.
constexpr std::uint64_t kMaxData = 0xffff'ffff;

// The range in bytes, if it lies on the disk and in whole logical blocks.
Parsed Range(Kind kind, std::uint64_t sector, std::uint64_t length, const BlkLimits& limits) {
  if (sector > limits.capacity / kSectorBytes) return IoError();
  const std::uint64_t offset = sector * kSectorBytes;  // cannot overflow: at most the capacity
  if (length > limits.capacity - offset || length > kMaxData) return IoError();
  const std::uint64_t mask = std::max(limits.logical_block_size, kSectorBytes) - 1;
  if (((offset | length) & mask) != 0) return IoError();
  return BlkRequest{.kind = kind, .offset = offset, .length = length};
}

Parsed ParseSegment(Kind kind, std::span<const iovec> readable, const BlkLimits& limits) {
  const std::uint64_t feature =
      kind == Kind::kDiscard ? kBlkFeatureDiscard : kBlkFeatureWriteZeroes;
  if ((limits.features & feature) == 0) return Unsupported();
  if (limits.read_only) return IoError();
  BlkSegment segment;
  if (!CopyIn(readable, sizeof(BlkRequestHeader), segment)) return IoError();
  if (IovLength(readable) != sizeof(BlkRequestHeader) + sizeof segment) return IoError();
  // 5.2.6.2: unknown flags, and unmap with a discard, MUST be answered with UNSUPP.
  const std::uint32_t known = kind == Kind::kDiscard ? 0 : kBlkSegmentUnmap;
  if ((segment.flags & ~known) != 0) return Unsupported();
  if (segment.num_sectors > kMaxRangeSectors) return IoError();
  Parsed request =
      Range(kind, segment.sector, std::uint64_t{segment.num_sectors} * kSectorBytes, limits);
  if (request) request->may_unmap = (segment.flags & kBlkSegmentUnmap) != 0;
  return request;
}

}  // namespace

const char* ToString(Kind kind) {
  switch (kind) {
    case Kind::kRead:
      return "read";
    case Kind::kWrite:
      return "write";
    case Kind::kFlush:
      return "flush";
    case Kind::kGetId:
      return "get-id";
    case Kind::kDiscard:
      return "discard";
    case Kind::kWriteZeroes:
      return "write-zeroes";
  }
  return "unknown";
}

Parsed ParseBlkRequest(std::span<const iovec> readable, std::span<const iovec> writable,
                       const BlkLimits& limits) {
  BlkRequestHeader header;
  if (!CopyIn(readable, 0, header)) return IoError();
  const std::uint64_t room = IovLength(writable) - 1;
  switch (static_cast<BlkRequestType>(header.type)) {
    case BlkRequestType::kIn:
      if (room > kMaxDataBytes) return IoError();
      return Range(Kind::kRead, header.sector, room, limits);
    case BlkRequestType::kOut:
      // 5.2.6.2: a write to a device that offers RO MUST be answered with IOERR.
      if (limits.read_only) return IoError();
      if (IovLength(readable) - sizeof header > kMaxDataBytes) return IoError();
      return Range(Kind::kWrite, header.sector, IovLength(readable) - sizeof header, limits);
    case BlkRequestType::kFlush:
      return BlkRequest{.kind = Kind::kFlush};
    case BlkRequestType::kGetId:
      return BlkRequest{.kind = Kind::kGetId, .length = room};
    case BlkRequestType::kDiscard:
      return ParseSegment(Kind::kDiscard, readable, limits);
    case BlkRequestType::kWriteZeroes:
      return ParseSegment(Kind::kWriteZeroes, readable, limits);
  }
  return Unsupported();
}

std::span<const iovec> SliceIov(std::span<const iovec> iov, std::uint64_t skip,
                                std::uint64_t length, std::vector<iovec>& storage) {
  std::size_t first = 0;
  while (first < iov.size() && skip >= iov[first].iov_len) skip -= iov[first++].iov_len;
  std::uint64_t left = length;
  std::size_t end = first;
  std::uint64_t cut = skip;  // bytes of the segment at `end` that are passed over
  while (end < iov.size() && left > 0 && iov[end].iov_len - cut <= left) {
    left -= iov[end++].iov_len - cut;
    cut = 0;
  }
  if (skip == 0 && left == 0) return iov.subspan(first, end - first);

  storage.assign(iov.begin() + static_cast<std::ptrdiff_t>(first),
                 iov.begin() + static_cast<std::ptrdiff_t>(left > 0 ? end + 1 : end));
  if (storage.empty()) return {};
  storage.front().iov_base = static_cast<std::byte*>(storage.front().iov_base) + skip;
  storage.front().iov_len -= skip;
  if (left > 0) storage.back().iov_len = static_cast<std::size_t>(left);
  return storage;
}

}  // namespace gemel::virtio
