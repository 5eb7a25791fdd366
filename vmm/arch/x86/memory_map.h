// Where a machine's RAM lies in guest-physical space.
#pragma once
#include <cstdint>
#include <vector>

#include "vmm/memory/guest_memory.h"

namespace gemel::x86 {

// Machine type micro-1: up to 3 GiB below 4 GiB, the rest from 4 GiB on. `size` > 0.
std::vector<MemoryRange> MicroRam(std::uint64_t size);
// Machine type server-1: up to 2 GiB below 4 GiB, the rest from 4 GiB on. `size` > 0.
std::vector<MemoryRange> ServerRam(std::uint64_t size);
// server-1: where PCI's memory above 4 GiB begins, for RAM of this size.
std::uint64_t PciMemory64(std::uint64_t ram_size);

}  // namespace gemel::x86
