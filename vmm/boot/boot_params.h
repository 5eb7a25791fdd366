// Linux's "zero page" (struct boot_params; Documentation/arch/x86/zero-page.rst) for the 64-bit
// boot protocol. Offsets of the fields in use:
//
//   0x070 acpi_rsdp_addr (8) | 0x0c0 ext_ramdisk_image (4) | 0x0c4 ext_ramdisk_size (4)
//   0x1e8 e820_entries (1)   | 0x1f1 setup header          | 0x2d0 e820_table (128 of 20 bytes)
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vmm/boot/boot_info.h"

namespace gemel::boot {

namespace zero_page {
inline constexpr std::size_t kSize = 4096;
inline constexpr std::size_t kAcpiRsdp = 0x070;
inline constexpr std::size_t kE820Entries = 0x1e8;
inline constexpr std::size_t kE820Table = 0x2d0;
inline constexpr std::size_t kE820EntrySize = 20;
inline constexpr std::size_t kE820MaxEntries = 128;
// The setup header, here and in the file alike.
inline constexpr std::size_t kSetupHeader = 0x1f1;
inline constexpr std::size_t kSetupSects = 0x1f1;
inline constexpr std::size_t kSysSize = 0x1f4;  // in units of 16 bytes
inline constexpr std::size_t kVidMode = 0x1fa;
inline constexpr std::size_t kBootFlag = 0x1fe;     // 0xaa55
inline constexpr std::size_t kJump = 0x200;         // 2-byte jump over the header: its length
inline constexpr std::size_t kHeaderMagic = 0x202;  // "HdrS"
inline constexpr std::size_t kVersion = 0x206;
inline constexpr std::size_t kTypeOfLoader = 0x210;
inline constexpr std::size_t kLoadFlags = 0x211;
inline constexpr std::size_t kRamdiskImage = 0x218;
inline constexpr std::size_t kRamdiskSize = 0x21c;
inline constexpr std::size_t kCmdLinePtr = 0x228;
inline constexpr std::size_t kInitrdAddrMax = 0x22c;
inline constexpr std::size_t kXLoadFlags = 0x236;
inline constexpr std::size_t kCmdlineSize = 0x238;
inline constexpr std::size_t kSetupData = 0x250;
inline constexpr std::size_t kPrefAddress = 0x258;
inline constexpr std::size_t kInitSize = 0x260;
inline constexpr std::size_t kSetupHeaderEnd =
    0x290;  // the zero page has other things from here on
}  // namespace zero_page

// The page for `info` and a kernel whose setup header is `setup_header` (of at most
// kSetupHeaderEnd - kSetupHeader bytes, at least up to kInitSize, which ParseBzImage sees to).
std::vector<std::byte> BuildBootParams(std::span<const std::byte> setup_header,
                                       const BootInfo& info);

}  // namespace gemel::boot
