// Where things lie in the guest: addresses, ports and interrupt lines of machine type micro-1.
// This is guest ABI: a released machine type never changes.
#pragma once
#include <cstdint>

namespace gemel::x86 {

// ---- memory -------------------------------------------------------------------------------------
//   0                 1 MiB     16 MiB                   3 GiB      3.25 GiB        4 GiB
//   | low RAM | tables | RAM ...  kernel                  | hole: virtio-mmio … APICs | RAM …
inline constexpr std::uint64_t kRamBelow4GMax = 3ull << 30;  // micro; server will end at 2 GiB
inline constexpr std::uint64_t kRamAbove4G = 4ull << 30;
// Below 640 KiB: boot structures of direct boot (vmm/boot). The EBDA and BIOS area 0x9FC00-0xFFFFF
// is RAM that the e820 map reserves; RSDP, MP table and ACPI tables lie in it.
inline constexpr std::uint64_t kGdtAddress = 0x500;
inline constexpr std::uint64_t kPvhStartInfo = 0x6000;
inline constexpr std::uint64_t kBootParams = 0x7000;
inline constexpr std::uint64_t kBootStack = 0x8ff0;
inline constexpr std::uint64_t kPageTables = 0x9000;  // PML4, PDPT, 4 page directories: 6 pages
inline constexpr std::uint64_t kCmdline = 0x20000;
inline constexpr std::uint64_t kCmdlineMaxBytes = 2048;  // with the terminating zero
inline constexpr std::uint64_t kEbda = 0x9fc00;          // MP floating pointer here with acpi=off
inline constexpr std::uint64_t kAcpiTables = 0xe0000;    // RSDP first, then the tables
inline constexpr std::uint64_t kAcpiTablesEnd = 0x100000;
inline constexpr std::uint64_t kHighRam = 0x100000;

inline constexpr std::uint64_t kMmioDevices = 0xd0000000;  // device n at + n * kMmioDeviceSize
inline constexpr std::uint64_t kMmioDeviceSize = 0x1000;
inline constexpr std::uint64_t kIoApic = 0xfec00000;
inline constexpr std::uint64_t kLocalApic = 0xfee00000;
// Pages KVM keeps for real mode on Intel without unrestricted guest; outside RAM and devices.
inline constexpr std::uint64_t kKvmIdentityMap = 0xfffbc000;
inline constexpr std::uint64_t kKvmTss = 0xfffbd000;

// ---- ports --------------------------------------------------------------------------------------
inline constexpr std::uint16_t kPortI8042 = 0x60;    // 0x60 and 0x64
inline constexpr std::uint16_t kPortCmos = 0x70;     // 0x70 and 0x71
inline constexpr std::uint16_t kPortSerial = 0x3f8;  // COM1, 8 ports
// ACPI PM1 block: PM1a_EVT (4 bytes), PM1a_CNT (2), PM_TMR at +8 (server only).
inline constexpr std::uint16_t kPortPm = 0x600;
inline constexpr std::uint16_t kPortReset = 0xcf9;  // FADT RESET_REG, value 6
// Reserved for fw_cfg (a later machine type's): 0x510-0x51b.

// ---- interrupt lines (GSIs = IOAPIC pins) -------------------------------------------------------
// The PIT (ISA IRQ 0) is on pin 2, as everywhere; the other ISA IRQs are on the pin of their
// number.
inline constexpr std::uint32_t kIrqSerial = 4;
inline constexpr std::uint32_t kIrqRtc = 8;
inline constexpr std::uint32_t kIrqSci = 9;
// Device n of the virtio-mmio bus. Edge-triggered, one device a line.
inline constexpr std::uint32_t kMmioIrqs[] = {16, 17, 18, 19, 20, 21, 22, 23,
                                              5,  6,  7,  10, 11, 13, 14, 15};
inline constexpr std::uint32_t kIoApicPins = 24;

}  // namespace gemel::x86
