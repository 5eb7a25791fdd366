#include "vmm/arch/x86/memory_map.h"

#include <algorithm>

#include "vmm/arch/x86/layout.h"

namespace gemel::x86 {

namespace {

std::vector<MemoryRange> Ram(std::uint64_t size, std::uint64_t most_below_4g) {
  const std::uint64_t low = std::min(size, most_below_4g);
  std::vector<MemoryRange> ranges = {{GuestAddress{0}, low}};
  if (size > low) ranges.push_back({GuestAddress{kRamAbove4G}, size - low});
  return ranges;
}

}  // namespace

std::vector<MemoryRange> MicroRam(std::uint64_t size) { return Ram(size, kRamBelow4GMax); }

std::vector<MemoryRange> ServerRam(std::uint64_t size) { return Ram(size, kServerRamBelow4GMax); }

std::uint64_t PciMemory64(std::uint64_t ram_size) {
  const std::uint64_t above = ram_size - std::min(ram_size, kServerRamBelow4GMax);
  const std::uint64_t units = (kRamAbove4G + above + kPciMemory64Size - 1) / kPciMemory64Size;
  return units * kPciMemory64Size;
}

}  // namespace gemel::x86
