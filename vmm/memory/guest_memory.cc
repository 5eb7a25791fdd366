#include "vmm/memory/guest_memory.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace gemel {
namespace {

constexpr std::uint64_t kPageSize = 4096;
constexpr std::uint64_t kHugePageSize = 2ull << 20;

Status CheckRanges(std::span<const MemoryRange> ranges, std::uint64_t unit) {
  std::uint64_t end = 0;
  if (ranges.empty()) return InvalidArgument("guest memory: no ranges");
  for (const MemoryRange& range : ranges) {
    const std::uint64_t start = range.start.value;
    if (range.size == 0 || start % unit != 0 || range.size % unit != 0)
      return InvalidArgument("guest memory: range {:#x}+{:#x}: not a multiple of {} KiB", start,
                             range.size, unit >> 10);
    if (start < end || range.size > UINT64_MAX - start)
      return InvalidArgument("guest memory: range {:#x}+{:#x}: overlaps, wraps or is out of order",
                             start, range.size);
    end = start + range.size;
  }
  return {};
}

std::uint64_t TotalSize(std::span<const MemoryRange> ranges) {
  std::uint64_t total = 0;
  for (const MemoryRange& range : ranges) total += range.size;
  return total;
}

Result<UniqueFd> MakeMemfd(std::uint64_t size, bool huge) {
  const unsigned flags = MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0u);
  UniqueFd fd(memfd_create("guest-ram", flags));
  if (!fd) return ErrnoError(errno, "memfd_create for guest memory");
  if (ftruncate64(fd.get(), static_cast<off64_t>(size)) != 0)
    return ErrnoError(errno, fmt::format("guest memory of {} MiB", size >> 20));
  return fd;
}

// Address space for a range whose place within a huge page is the guest address's: only then can
// KVM back both with the same huge page. Linux aligns large mappings by itself from 6.7 on.
void* MapAligned(const MemoryRange& range, int flags, int fd, std::uint64_t file_offset) {
  if (range.size > SIZE_MAX - kHugePageSize) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  const std::size_t reserved = range.size + kHugePageSize;
  // SAFETY: a new mapping without access at an address the kernel chooses. The part `range` lies
  // in is replaced below, within its bounds; the rest is unmapped again.
  void* map =
      mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) return map;
  auto* const begin = static_cast<std::byte*>(map);
  const std::size_t before =
      (range.start.value - reinterpret_cast<std::uintptr_t>(begin)) % kHugePageSize;
  void* host = mmap(begin + before, range.size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd,
                    static_cast<off_t>(file_offset));
  if (host == MAP_FAILED) {
    const int why = errno;
    munmap(begin, reserved);
    errno = why;
    return host;
  }
  if (before > 0) munmap(begin, before);
  munmap(begin + before + range.size, kHugePageSize - before);
  return host;
}

Result<std::byte*> MapRegion(const MemoryRange& range, int fd, std::uint64_t file_offset) {
  const int flags = fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  // SAFETY: a new mapping; unmapped by ~GuestMemory.
  void* host = MapAligned(range, flags, fd, file_offset);
  if (host == MAP_FAILED) {
    return MakeError(Code::kResourceExhausted,
                     fmt::format("guest memory: the host has no {} MiB to give: {}",
                                 range.size >> 20, std::strerror(errno)));
  }
  // Advice only: a kernel without transparent huge pages is slower, not wrong.
  if (fd < 0) madvise(host, range.size, MADV_HUGEPAGE);
  madvise(host, range.size, MADV_DONTDUMP);
  return static_cast<std::byte*>(host);
}

// A guest changes these bytes at any moment. Volatile accesses keep the compiler from reading a
// byte twice or leaving a copy out; words where both sides allow it, so that a copy of n bytes
// costs n/8.
void VolatileCopy(volatile std::byte* to, const volatile std::byte* from, std::size_t n) {
  using Word = std::uint64_t;
  const auto misaligned = [](const volatile std::byte* p) {
    return reinterpret_cast<std::uintptr_t>(p) % sizeof(Word) != 0;
  };
  if (!misaligned(to) && !misaligned(from)) {
    for (; n >= sizeof(Word); n -= sizeof(Word), to += sizeof(Word), from += sizeof(Word)) {
      // SAFETY: aligned, in bounds by n, and may_alias.
      using AliasWord [[gnu::may_alias]] = Word;
      *reinterpret_cast<volatile AliasWord*>(to) =
          *reinterpret_cast<const volatile AliasWord*>(from);
    }
  }
  for (; n > 0; --n) *to++ = *from++;
}

}  // namespace

Result<std::unique_ptr<GuestMemory>> GuestMemory::Create(std::span<const MemoryRange> ranges,
                                                         MemoryBacking backing) {
  const bool huge = backing == MemoryBacking::kHugePages;
  RETURN_IF_ERROR(CheckRanges(ranges, huge ? kHugePageSize : kPageSize));
  std::unique_ptr<GuestMemory> memory(new GuestMemory);
  memory->reserved_ = huge;
  if (backing != MemoryBacking::kAnonymous) {
    ASSIGN_OR_RETURN(memory->shared_fd_, MakeMemfd(TotalSize(ranges), huge));
  }
  std::uint64_t file_offset = 0;
  for (const MemoryRange& range : ranges) {
    ASSIGN_OR_RETURN(std::byte* const host,
                     MapRegion(range, memory->shared_fd_.get(), file_offset));
    memory->regions_.push_back({range.start, range.size, host, file_offset});
    if (backing != MemoryBacking::kAnonymous) file_offset += range.size;
  }
  return memory;
}

GuestMemory::~GuestMemory() {
  for (const Region& region : regions_) munmap(region.host, region.size);
}

std::uint64_t GuestMemory::size() const {
  std::uint64_t total = 0;
  for (const Region& region : regions_) total += region.size;
  return total;
}

const GuestMemory::Region* GuestMemory::Find(GuestAddress at) const {
  for (const Region& region : regions_) {
    if (at >= region.start && at.value - region.start.value < region.size) return &region;
  }
  return nullptr;
}

bool GuestMemory::Contains(GuestAddress at, std::uint64_t length) const {
  while (length > 0) {
    const Region* region = Find(at);
    if (region == nullptr) return false;
    const std::uint64_t room = region->size - (at.value - region->start.value);
    if (length <= room) return true;
    length -= room;
    at.value += room;
  }
  return true;
}

std::expected<void, MemError> GuestMemory::ReadBytes(GuestAddress at,
                                                     std::span<std::byte> out) const {
  while (!out.empty()) {
    const Region* region = Find(at);
    if (region == nullptr) return std::unexpected(MemError::kOutOfRange);
    const std::uint64_t offset = at.value - region->start.value;
    const std::size_t n = std::min<std::uint64_t>(out.size(), region->size - offset);
    VolatileCopy(out.data(), region->host + offset, n);
    out = out.subspan(n);
    at.value += n;
  }
  return {};
}

std::expected<void, MemError> GuestMemory::WriteBytes(GuestAddress at,
                                                      std::span<const std::byte> in) const {
  if (!Contains(at, in.size())) return std::unexpected(MemError::kOutOfRange);
  MarkDirty(at, in.size());
  while (!in.empty()) {
    const Region* region = Find(at);
    const std::uint64_t offset = at.value - region->start.value;
    const std::size_t n = std::min<std::uint64_t>(in.size(), region->size - offset);
    VolatileCopy(region->host + offset, in.data(), n);
    in = in.subspan(n);
    at.value += n;
  }
  return {};
}

std::expected<std::uint16_t, MemError> GuestMemory::LoadAcquire16(GuestAddress at) const {
  if (at.value % 2 != 0) return std::unexpected(MemError::kMisaligned);
  const Region* region = Find(at);
  if (region == nullptr) return std::unexpected(MemError::kOutOfRange);
  // SAFETY: aligned and, with regions of whole pages, wholly inside the region.
  const auto* word =
      reinterpret_cast<const std::uint16_t*>(region->host + (at.value - region->start.value));
  return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

std::expected<void, MemError> GuestMemory::StoreRelease16(GuestAddress at,
                                                          std::uint16_t value) const {
  if (at.value % 2 != 0) return std::unexpected(MemError::kMisaligned);
  const Region* region = Find(at);
  if (region == nullptr) return std::unexpected(MemError::kOutOfRange);
  MarkDirty(at, sizeof value);
  // SAFETY: as in LoadAcquire16.
  auto* word = reinterpret_cast<std::uint16_t*>(region->host + (at.value - region->start.value));
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
  return {};
}

std::expected<std::size_t, MemError> GuestMemory::ToIov(GuestAddress at, std::uint64_t length,
                                                        std::span<iovec> out) const {
  std::size_t used = 0;
  while (length > 0) {
    const Region* region = Find(at);
    if (region == nullptr) return std::unexpected(MemError::kOutOfRange);
    if (used == out.size()) return std::unexpected(MemError::kTooManySegments);
    const std::uint64_t offset = at.value - region->start.value;
    const std::uint64_t n = std::min(length, region->size - offset);
    out[used++] = iovec{region->host + offset, n};
    length -= n;
    at.value += n;
  }
  return used;
}

// Nobody tracks dirty pages yet; live migration will hang its bitmap here.
void GuestMemory::MarkDirty(GuestAddress, std::uint64_t) const {}

// Makes a hole; 0, or -1 with errno.
int GuestMemory::Drop(const Region& region, std::uint64_t offset, std::uint64_t length) const {
  if (!shared_fd_) return madvise(region.host + offset, length, MADV_DONTNEED);
  return fallocate(shared_fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                   static_cast<off_t>(region.file_offset + offset), static_cast<off_t>(length));
}

Status GuestMemory::Clear() const {
  for (const Region& region : regions_) {
    if (reserved_) {  // a hole would give the reservation away, and the next touch could find none
      std::memset(region.host, 0, region.size);
      continue;
    }
    if (Drop(region, 0, region.size) != 0) return ErrnoError(errno, "clear guest memory");
  }
  return {};
}

std::uint64_t GuestMemory::GiveBack(GuestAddress at, std::uint64_t length) const {
  std::uint64_t given_back = 0;
  const std::uint64_t end = length > UINT64_MAX - at.value ? UINT64_MAX : at.value + length;
  for (const Region& region : regions_) {
    const std::uint64_t first = std::max(at.value, region.start.value);
    const std::uint64_t last = std::min(end, region.start.value + region.size);
    if (first < last)
      given_back += GiveBack(region, first - region.start.value, last - region.start.value);
  }
  return given_back;
}

std::uint64_t GuestMemory::GiveBack(const iovec& range) const {
  // SAFETY: compared as numbers, never followed.
  const auto begin = reinterpret_cast<std::uintptr_t>(range.iov_base);
  for (const Region& region : regions_) {
    const std::uintptr_t offset = begin - reinterpret_cast<std::uintptr_t>(region.host);
    if (offset >= region.size || region.size - offset < range.iov_len) continue;
    return GiveBack(region, offset, offset + range.iov_len);
  }
  return 0;
}

// [begin, end) of the region.
std::uint64_t GuestMemory::GiveBack(const Region& region, std::uint64_t begin,
                                    std::uint64_t end) const {
  begin = (begin + kPageSize - 1) / kPageSize * kPageSize;
  end = end / kPageSize * kPageSize;
  if (reserved_ || begin >= end) return 0;
  const std::uint64_t length = end - begin;
  MarkDirty(GuestAddress{region.start.value + begin}, length);
  return Drop(region, begin, length) == 0 ? length : 0;
}

std::span<std::byte> GuestMemory::HostRange(GuestAddress at, std::uint64_t length) const {
  const Region* region = Find(at);
  if (region == nullptr) return {};
  const std::uint64_t offset = at.value - region->start.value;
  if (region->size - offset < length) return {};
  return {region->host + offset, length};
}

}  // namespace gemel
