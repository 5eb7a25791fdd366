// Address -> handler, for one address space (ports or memory).
//
// Built by one thread; Read and Write then come from any number of vCPU threads without a lock, so
// Map may not be called once vCPUs run.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/bus/io_handler.h"

namespace gemel {

class IoBus {
 public:
  // Sends [base, base + size) to `handler`, which the caller owns and which must outlive the bus.
  // kInvalidArgument if size is 0 or the range wraps; kAlreadyExists, naming both, if it overlaps.
  Status Map(std::uint64_t base, std::uint64_t size, IoHandler* handler);

  // False if no handler has all of the access; Read then leaves `data` filled with ones, as a bus
  // that nobody drives reads.
  bool Read(std::uint64_t address, std::span<std::byte> data) const;
  bool Write(std::uint64_t address, std::span<const std::byte> data) const;

 private:
  struct Mapping {
    std::uint64_t base;
    std::uint64_t size;
    IoHandler* handler;  // owned by whoever built the machine
  };
  const Mapping* Find(std::uint64_t address, std::size_t width) const;

  std::vector<Mapping> mappings_;  // sorted by base, disjoint
};

}  // namespace gemel
