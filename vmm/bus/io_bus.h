// Address -> handler, for one address space (ports or memory).
//
// Ranges come and go while vCPUs run, since guests move the windows of PCI devices. Read and Write
// take no lock and touch no line that another reader writes: they search a table, and search again
// if a change was published meanwhile. Two tables take turns, so that a reader never waits for a
// writer in the middle of its work. Nothing is freed behind a reader: tables only grow, and live as
// long as the bus.
//
// After Unmap a vCPU that found the range before may still be in its handler, or just about to
// enter it; so a handler lives until no vCPU runs any more.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "vmm/bus/io_handler.h"

namespace gemel {

class IoBus {
 public:
  IoBus();
  ~IoBus();
  IoBus(const IoBus&) = delete;
  IoBus& operator=(const IoBus&) = delete;

  // All four of these: any thread, also from within a handler.
  // Sends [base, base + size) to `handler`, which the caller owns and which must outlive the bus.
  // kInvalidArgument if size is 0 or the range wraps; kAlreadyExists, naming both, if it overlaps.
  Status Map(std::uint64_t base, std::uint64_t size, IoHandler* handler) EXCLUDES(mutex_);
  // The same for ranges that a guest chooses: false instead of an error, without an allocation.
  bool TryMap(std::uint64_t base, std::uint64_t size, IoHandler* handler) EXCLUDES(mutex_);
  // Takes away the range that begins at `base`; false if none does.
  bool Unmap(std::uint64_t base) EXCLUDES(mutex_);

  // False if no handler has all of the access; Read then leaves `data` filled with ones, as a bus
  // that nobody drives reads.
  bool Read(std::uint64_t address, std::span<std::byte> data) const;
  bool Write(std::uint64_t address, std::span<const std::byte> data) const;

 private:
  struct Mapping {
    std::uint64_t base = 0;
    std::uint64_t size = 0;
    IoHandler* handler = nullptr;  // owned by whoever built the machine
  };
  class Table;

  // The mapping that [base, base + size) would overlap, or null. REQUIRES: it does not wrap.
  const Mapping* OverlapLocked(std::uint64_t base, std::uint64_t size) const REQUIRES(mutex_);
  void InsertLocked(const Mapping& mapping) REQUIRES(mutex_);
  void PublishLocked() REQUIRES(mutex_);
  Mapping Find(std::uint64_t address, std::size_t width) const;

  Mutex mutex_;                                                    // writers
  std::vector<Mapping> mappings_ GUARDED_BY(mutex_);               // sorted by base, disjoint
  std::vector<std::unique_ptr<Table>> tables_ GUARDED_BY(mutex_);  // all that ever were in use

  // Readers use table version_ % 2; a writer fills the other one and then adds one.
  std::atomic<std::uint64_t> version_{0};
  std::array<std::atomic<Table*>, 2> active_;
};

}  // namespace gemel
