#include "vmm/boot/boot_info.h"

#include <algorithm>

#include "vmm/arch/x86/layout.h"

namespace gemel::boot {
namespace {

void AddRam(std::vector<MapEntry>& map, std::uint64_t start, std::uint64_t end) {
  if (start < end) map.push_back({start, end - start, MapType::kRam});
}

}  // namespace

std::vector<MapEntry> BuildMemoryMap(const GuestMemory& memory) {
  std::vector<MapEntry> map;
  for (const GuestMemory::Region& region : memory.regions()) {
    const std::uint64_t start = region.start.value;
    const std::uint64_t end = start + region.size;
    AddRam(map, start, std::min(end, x86::kEbda));
    if (start <= x86::kEbda && end > x86::kEbda)
      map.push_back({x86::kEbda, x86::kHighRam - x86::kEbda, MapType::kReserved});
    AddRam(map, std::max(start, x86::kHighRam), end);
  }
  return map;
}

}  // namespace gemel::boot
