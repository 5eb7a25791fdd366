// hvm_start_info version 1 (Xen: public/arch-x86/hvm/start_info.h) with its module list and memory
// map, as one block of bytes:
//
//   +0x00 hvm_start_info (56 bytes) | +0x40 modlist: 1 entry (32) | +0x80 memmap: entries of 24
//   bytes
//
//   start_info  0 magic | 4 version | 8 flags | 12 nr_modules | 16 modlist | 24 cmdline | 32 rsdp
//               40 memmap | 48 memmap_entries | 52 reserved
//   module      0 address | 8 size | 16 cmdline | 24 reserved
//   memmap      0 address | 8 size | 16 type | 20 reserved
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "vmm/boot/boot_info.h"

namespace gemel::boot {

namespace start_info {
inline constexpr std::uint32_t kMagic = 0x336ec578;  // "xEn3" with the top bit of the E set
inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::size_t kModules = 0x40;
inline constexpr std::size_t kMemoryMap = 0x80;
inline constexpr std::size_t kMapEntrySize = 24;
}  // namespace start_info

// The block for a start info at guest address `base`.
std::vector<std::byte> BuildStartInfo(std::uint64_t base, const BootInfo& info);

}  // namespace gemel::boot
