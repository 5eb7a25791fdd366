// What every boot protocol tells a kernel: memory map, command line, initrd, ACPI. One struct,
// which boot_params.h and pvh_start_info.h each write in their own form.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "vmm/memory/guest_address.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::boot {

// Address range types of ACPI 6.4, table 15-374; Linux's e820 and PVH's memory map use them alike.
enum class MapType : std::uint32_t { kRam = 1, kReserved = 2 };

struct MapEntry {
  std::uint64_t address = 0;
  std::uint64_t size = 0;
  MapType type = MapType::kRam;
};

struct Placement {
  std::uint64_t address = 0;
  std::uint64_t size = 0;
};

struct BootInfo {
  std::vector<MapEntry> memory_map;
  std::uint64_t cmdline = 0;  // address of a zero-terminated string
  std::optional<Placement> initrd;
  std::optional<GuestAddress> rsdp;
};

// RAM as the guest may use it: 0x9fc00-0xfffff (EBDA, BIOS area: MP and ACPI tables) is reserved.
std::vector<MapEntry> BuildMemoryMap(const GuestMemory& memory);

}  // namespace gemel::boot
