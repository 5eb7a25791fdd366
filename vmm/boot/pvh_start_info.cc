#include "vmm/boot/pvh_start_info.h"

#include "base/load_le.h"

namespace gemel::boot {

std::vector<std::byte> BuildStartInfo(std::uint64_t base, const BootInfo& info) {
  std::vector<std::byte> bytes(start_info::kMemoryMap +
                               info.memory_map.size() * start_info::kMapEntrySize);
  const std::span<std::byte> block(bytes);
  StoreLe(block, 0, start_info::kMagic);
  StoreLe(block, 4, start_info::kVersion);
  if (info.initrd) {
    StoreLe(block, 12, std::uint32_t{1});
    StoreLe(block, 16, base + start_info::kModules);
    StoreLe(block, start_info::kModules, info.initrd->address);
    StoreLe(block, start_info::kModules + 8, info.initrd->size);
  }
  StoreLe(block, 24, info.cmdline);
  StoreLe(block, 32, info.rsdp ? info.rsdp->value : std::uint64_t{0});
  StoreLe(block, 40, base + start_info::kMemoryMap);
  StoreLe(block, 48, static_cast<std::uint32_t>(info.memory_map.size()));
  std::size_t at = start_info::kMemoryMap;
  for (const MapEntry& entry : info.memory_map) {
    StoreLe(block, at, entry.address);
    StoreLe(block, at + 8, entry.size);
    StoreLe(block, at + 16, static_cast<std::uint32_t>(entry.type));
    at += start_info::kMapEntrySize;
  }
  return bytes;
}

}  // namespace gemel::boot
