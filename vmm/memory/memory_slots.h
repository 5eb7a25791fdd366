// RAM that the guest sees at some times and not at others.
#pragma once
#include <cstdint>

#include "base/result.h"
#include "vmm/memory/guest_memory.h"

namespace gemel {

// Implemented by vmm/kvm (memory slots); a fake remembers what is shown.
class MemorySlots {
 public:
  static constexpr std::uint32_t kSlots = 16;  // that may be shown at one time
  virtual ~MemorySlots() = default;

  // Shows the guest this range of RAM, whose ends are multiples of 4 KiB. What the guest writes to
  // a read-only one goes where accesses go that no RAM answers: the memory bus.
  // REQUIRES: `slot` < kSlots and shows nothing, no other slot has a part of the range, and all of
  // it lies in one region.
  virtual Status Show(std::uint32_t slot, MemoryRange range, bool read_only) = 0;
  // Takes it away again: all accesses go to the memory bus. REQUIRES: the slot shows something.
  virtual Status Hide(std::uint32_t slot) = 0;
};

}  // namespace gemel
