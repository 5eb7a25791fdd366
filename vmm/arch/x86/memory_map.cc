#include "vmm/arch/x86/memory_map.h"

#include <algorithm>

#include "vmm/arch/x86/layout.h"

namespace gemel::x86 {

std::vector<MemoryRange> MicroRam(std::uint64_t size) {
  const std::uint64_t low = std::min(size, kRamBelow4GMax);
  std::vector<MemoryRange> ranges = {{GuestAddress{0}, low}};
  if (size > low) ranges.push_back({GuestAddress{kRamAbove4G}, size - low});
  return ranges;
}

}  // namespace gemel::x86
