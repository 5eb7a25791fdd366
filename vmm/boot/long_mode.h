// What must lie in memory for a vCPU that begins in long mode: an identity map and a GDT.
#pragma once
#include "base/result.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::boot {

// Writes a PML4, a PDPT and four page directories at kPageTables that map the first 4 GiB onto
// themselves with 2 MiB pages (AMD APM vol. 2, 5.3.4), and the 64-bit boot GDT at kGdtAddress.
Status WriteLongModeTables(const GuestMemory& memory);

}  // namespace gemel::boot
