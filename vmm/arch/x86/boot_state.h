// How the first vCPU begins when a kernel is booted directly: what a loader (vmm/boot) tells
// whoever sets the registers (vmm/arch/x86/registers.h, vmm/kvm). Others wait for INIT and SIPI.
//
// The loader has already written everything the addresses below point to into guest memory.
#pragma once
#include <cstdint>

namespace gemel::x86 {

struct BootState {
  enum class Mode : std::uint8_t {
    // PVH (Xen's "x86/HVM direct boot ABI"): protected mode, paging off, flat 32-bit segments,
    // interrupts off, EBX = `argument` (hvm_start_info), EIP = `entry`.
    kProtected32,
    // Linux 64-bit boot protocol (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"): long
    // mode, RSI = `argument` (boot_params), RIP = `entry`, CS = 0x10 and data = 0x18 in `gdt`,
    // paging on by the identity map at `page_tables`, interrupts off.
    kLong64,
  };
  Mode mode = Mode::kProtected32;
  std::uint64_t entry = 0;
  std::uint64_t argument = 0;
  std::uint64_t stack = 0;        // RSP; neither protocol asks for one, early faults are glad of it
  std::uint64_t page_tables = 0;  // PML4; kLong64 only
  std::uint64_t gdt = 0;          // 4 entries as below; 0: none in memory (kProtected32 only)
};

// Entries of a GDT at BootState::gdt, for the loader to write: flat, present, ring 0, accessed.
inline constexpr std::uint16_t kBootCodeSelector = 0x10;
inline constexpr std::uint16_t kBootDataSelector = 0x18;
inline constexpr std::uint64_t kBootGdt32[] = {0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff};
inline constexpr std::uint64_t kBootGdt64[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};

}  // namespace gemel::x86
