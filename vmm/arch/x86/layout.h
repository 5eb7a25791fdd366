// Where things lie in the guest: addresses, ports and interrupt lines of machine types micro-1 and
// server-1. What is not said to be of one is of both.
// This is guest ABI: a released machine type never changes.
#pragma once
#include <cstdint>

namespace gemel::x86 {

// ---- memory -------------------------------------------------------------------------------------
//   0                 1 MiB     16 MiB                   3 GiB      3.25 GiB        4 GiB
//   | low RAM | tables | RAM ...  kernel                  | hole: virtio-mmio … APICs | RAM …
inline constexpr std::uint64_t kRamBelow4GMax = 3ull << 30;  // micro
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
inline constexpr std::uint64_t kAcpiTablesEnd = 0xf0000;
inline constexpr std::uint64_t kSmbios = 0xf0000;  // server; entry point first, then the table
inline constexpr std::uint64_t kSmbiosEnd = 0x100000;
inline constexpr std::uint64_t kHighRam = 0x100000;

inline constexpr std::uint64_t kMmioDevices = 0xd0000000;  // device n at + n * kMmioDeviceSize
inline constexpr std::uint64_t kMmioDeviceSize = 0x1000;
inline constexpr std::uint64_t kIoApic = 0xfec00000;
inline constexpr std::uint64_t kLocalApic = 0xfee00000;
// Pages KVM keeps for real mode on Intel without unrestricted guest; outside RAM and devices.
inline constexpr std::uint64_t kKvmIdentityMap = 0xfffbc000;
inline constexpr std::uint64_t kKvmTss = 0xfffbd000;

// ---- memory, server -----------------------------------------------------------------------------
//   2 GiB       2.75 GiB   3 GiB                         4 GiB        a multiple of 32 GiB
//   | PCI       | ECAM     | PCI               | APICs … | RAM …      | PCI, 32 GiB
inline constexpr std::uint64_t kServerRamBelow4GMax = 2ull << 30;  // SeaBIOS: ECAM lies behind
inline constexpr std::uint64_t kPciMemoryLow = 0x80000000;         // nothing is placed here yet
inline constexpr std::uint64_t kPciMemoryLowSize = 0x30000000;
inline constexpr std::uint64_t kEcam = 0xb0000000;
inline constexpr std::uint64_t kEcamSize = 256ull << 20;
inline constexpr std::uint64_t kPciMemory = 0xc0000000;
inline constexpr std::uint64_t kPciMemorySize = 0x3ec00000;  // up to the IOAPIC
inline constexpr std::uint64_t kPciMemory64Size = 32ull << 30;

// ---- ports --------------------------------------------------------------------------------------
inline constexpr std::uint16_t kPortI8042 = 0x60;    // 0x60 and 0x64
inline constexpr std::uint16_t kPortCmos = 0x70;     // 0x70 and 0x71
inline constexpr std::uint16_t kPortSerial = 0x3f8;  // COM1, 8 ports
// micro: PM1a_EVT (4 bytes), PM1a_CNT (2). server: the ICH9's PM block (vmm/devices/ich9_pm.h),
// PM_TMR at +8, GPE0 at +0x20; firmware may move it.
inline constexpr std::uint16_t kPortPm = 0x600;
inline constexpr std::uint16_t kPortReset = 0xcf9;    // FADT RESET_REG, value 6
inline constexpr std::uint16_t kPortPvPanic = 0x505;  // server
// Reserved for fw_cfg (a later machine type's).
inline constexpr std::uint16_t kPortFwCfg = 0x510;
inline constexpr std::uint16_t kFwCfgPorts = 12;
// server: what PCI devices' I/O BARs may have. Below lie the ports of the chip set.
inline constexpr std::uint16_t kPciIo = 0x1000;
inline constexpr std::uint32_t kPciIoSize = 0xf000;

// ---- interrupt lines (GSIs = IOAPIC pins) -------------------------------------------------------
// The PIT (ISA IRQ 0) is on pin 2, as everywhere; the other ISA IRQs are on the pin of their
// number.
inline constexpr std::uint32_t kIrqSerial = 4;
inline constexpr std::uint32_t kIrqRtc = 8;
inline constexpr std::uint32_t kIrqSci = 9;
// Device n of the virtio-mmio bus. Edge-triggered, one device a line.
inline constexpr std::uint32_t kMmioIrqs[] = {16, 17, 18, 19, 20, 21, 22, 23,
                                              5,  6,  7,  10, 11, 13, 14, 15};
// server: PIRQ A to H, PCI's INTx (vmm/pci/intx.h). Level-triggered.
inline constexpr std::uint32_t kFirstPirqGsi = 16;
inline constexpr std::uint32_t kIoApicPins = 24;

}  // namespace gemel::x86
