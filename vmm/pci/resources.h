// What firmware does before it hands over: addresses for all BARs, bus numbers and windows for root
// ports, interrupt lines. Direct boot has no firmware, so the machine does it.
//
// Decoding stays off: an operating system that wants a device turns it on, and one that sizes BARs
// while they are decoded (Linux) would otherwise move every window and ioeventfd several times.
#pragma once
#include <cstdint>

#include "base/result.h"
#include "vmm/pci/pci_root.h"

namespace gemel::pci {

struct AddressRange {
  std::uint64_t base = 0;
  std::uint64_t size = 0;
};

// Where there is room; the DSDT's _CRS says the same.
struct Resources {
  AddressRange io;        // at or above 0x1000
  AddressRange memory32;  // below 4 GiB
  AddressRange memory64;  // anywhere
};

// What each root port gets for its slot, if there is room; the I/O window may be missing.
inline constexpr std::uint64_t kPortIoWindow = 4096;
inline constexpr std::uint64_t kPortMemoryWindow = 2 << 20;
inline constexpr std::uint64_t kPortPrefetchableWindow = 64 << 20;

// The ISA IRQ that a PIRQ is routed to for kernels that use the PICs: 10 or 11, as SeaBIOS does.
constexpr std::uint8_t PicIrqOf(unsigned pirq) { return pirq % 4 < 2 ? 10 : 11; }

// REQUIRES: all functions are as after Reset. kResourceExhausted, naming the function, if there is
// no room for a BAR or a memory window.
Status AssignResources(Root& root, const Resources& resources);

}  // namespace gemel::pci
