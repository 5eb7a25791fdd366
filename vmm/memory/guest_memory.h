// All of a guest's RAM: where each range of it lies in guest-physical space and in this process.
//
// Bytes that a guest can write are only ever copied in or out, each byte read once and volatile, so
// that what was checked is what is used; or handed to the kernel as iovecs, which only ToIov makes.
// No pointer or reference into guest RAM escapes otherwise. Which addresses the guest *sees* RAM at
// (holes, PAM) is the memory map's business; this class is the RAM.
//
// Immutable after Create, so freely shared by const& between threads. Errors are values without
// text: a guest can cause them at will.
#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/memory/guest_address.h"

namespace gemel {

enum class MemError : std::uint8_t { kOutOfRange, kMisaligned, kTooManySegments };

// What backs guest RAM.
enum class MemoryBacking : std::uint8_t {
  kAnonymous,  // private anonymous memory, transparent huge pages asked for
  kShared,     // one memfd, so that other processes can map it
  kHugePages,  // one memfd of reserved 2 MiB pages; fails if too few are reserved
};

// One range of RAM. Both ends are multiples of 4 KiB (2 MiB with kHugePages).
struct MemoryRange {
  GuestAddress start;
  std::uint64_t size = 0;
};

class GuestMemory {
 public:
  // A range with where it lies in this process; KVM's memory slots are made of these. `host` and
  // `start` have the same place within a 2 MiB page, so that KVM can back RAM with huge pages.
  struct Region {
    GuestAddress start;
    std::uint64_t size = 0;
    std::byte* host = nullptr;
    std::uint64_t file_offset = 0;  // in shared_fd(), 0 without one
  };

  // Maps RAM for `ranges`, which must be sorted, non-empty and disjoint (kInvalidArgument
  // otherwise). kResourceExhausted, naming the size, when the host will not give it. Zero-filled;
  // left out of core dumps.
  static Result<std::unique_ptr<GuestMemory>> Create(std::span<const MemoryRange> ranges,
                                                     MemoryBacking backing);
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  std::span<const Region> regions() const { return regions_; }
  std::uint64_t size() const;                         // bytes of RAM in all
  int shared_fd() const { return shared_fd_.get(); }  // -1 with kAnonymous

  // Copies out.size() bytes in; kOutOfRange, with nothing promised about `out`, unless all are RAM.
  std::expected<void, MemError> ReadBytes(GuestAddress at, std::span<std::byte> out) const;
  // Copies `in` out and marks it dirty; kOutOfRange, with nothing written, unless all are RAM.
  std::expected<void, MemError> WriteBytes(GuestAddress at, std::span<const std::byte> in) const;

  template <class T>
    requires std::is_trivially_copyable_v<T>
  std::expected<T, MemError> Read(GuestAddress at) const {
    T value;
    auto done = ReadBytes(at, std::as_writable_bytes(std::span(&value, 1)));
    if (!done) return std::unexpected(done.error());
    return value;
  }
  template <class T>
    requires std::is_trivially_copyable_v<T>
  std::expected<void, MemError> Write(GuestAddress at, const T& value) const {
    return WriteBytes(at, std::as_bytes(std::span(&value, 1)));
  }

  // Atomic accesses to naturally aligned 16-bit ring indices: acquire on load, release on store.
  // kMisaligned for an odd address.
  std::expected<std::uint16_t, MemError> LoadAcquire16(GuestAddress at) const;
  std::expected<void, MemError> StoreRelease16(GuestAddress at, std::uint16_t value) const;

  // Fills `out` with iovecs that cover [at, at + length), several where regions meet, and returns
  // how many; kOutOfRange unless every byte is RAM, kTooManySegments if `out` is too short. A
  // length of 0 gives 0 iovecs. The iovecs are for system calls and CopyFrom/CopyTo of virtio/queue
  // only.
  std::expected<std::size_t, MemError> ToIov(GuestAddress at, std::uint64_t length,
                                             std::span<iovec> out) const;

  // The same for the common case that all lies in one region, without a call: false if it does not,
  // and then ToIov has the answer. A length of 0 is not for this one.
  bool ToOneIovec(GuestAddress at, std::uint64_t length, iovec* out) const {
    for (const Region& region : regions_) {
      const std::uint64_t offset = at.value - region.start.value;  // enormous if below the region
      if (offset >= region.size || region.size - offset < length) continue;
      *out = iovec{region.host + offset, length};
      return true;
    }
    return false;
  }

  // Every write on a device's behalf reports here, because KVM's dirty log does not see it.
  // WriteBytes and StoreRelease16 do so themselves; whoever lets the kernel write through an iovec
  // calls it.
  void MarkDirty(GuestAddress at, std::uint64_t length) const;

  // True if all of [at, at + length) is RAM.
  bool Contains(GuestAddress at, std::uint64_t length) const;

  // Makes all RAM read as zero again and gives its pages back to the host (but reserved
  // ones). For a machine reset.
  // REQUIRES: no vCPU runs and no I/O is in flight.
  Status Clear() const;

  // Gives the whole pages of a range back to the host; they read as zero from then on, and cost
  // nothing until they are touched. What of the range is no RAM is passed over, and so is all of it
  // with kHugePages, because the reservation would go too. Returns how many bytes that was. Any
  // thread, while vCPUs run.
  std::uint64_t GiveBack(GuestAddress at, std::uint64_t length) const;
  // The same for an iovec of ToIov's.
  std::uint64_t GiveBack(const iovec& range) const;

  // Host memory of [at, at + length), for loading an image before the guest runs; empty unless it
  // is RAM in one region. REQUIRES: no vCPU runs. (The one exception is virtio/queue, which reads
  // and writes rings and descriptors through it by single atomic accesses only.)
  std::span<std::byte> HostRange(GuestAddress at, std::uint64_t length) const;

 private:
  GuestMemory() = default;
  const Region* Find(GuestAddress at) const;
  int Drop(const Region& region, std::uint64_t offset, std::uint64_t length) const;
  std::uint64_t GiveBack(const Region& region, std::uint64_t begin, std::uint64_t end) const;

  std::vector<Region> regions_;
  UniqueFd shared_fd_;
  bool reserved_ = false;  // kHugePages
};

}  // namespace gemel
