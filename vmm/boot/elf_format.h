// The parts of an ELF64 file that a loader reads (System V gABI, chapters 4 and 5), and Xen's note.
// Byte offsets into little-endian records:
//
//   file header (64 bytes)   4 class | 5 data | 18 machine | 32 phoff | 54 phentsize | 56 phnum
//   program header (56)      0 type | 8 offset | 16 vaddr | 24 paddr | 32 filesz | 40 memsz | 48
//   align note                     0 namesz | 4 descsz | 8 type | 12 name, padding, desc, padding
#pragma once
#include <cstddef>
#include <cstdint>

namespace gemel::boot::elf {

inline constexpr std::size_t kHeaderSize = 64;
inline constexpr std::uint32_t kMagic = 0x464c457f;  // "\x7fELF"
inline constexpr std::size_t kClass = 4;
inline constexpr std::uint8_t kClass64 = 2;
inline constexpr std::size_t kData = 5;
inline constexpr std::uint8_t kLittleEndian = 1;
inline constexpr std::size_t kMachine = 18;
inline constexpr std::uint16_t kMachineX86_64 = 62;
inline constexpr std::size_t kPhOff = 32;
inline constexpr std::size_t kPhEntSize = 54;
inline constexpr std::size_t kPhNum = 56;

inline constexpr std::size_t kProgramHeaderSize = 56;
inline constexpr std::size_t kPhType = 0;
inline constexpr std::size_t kPhOffset = 8;
inline constexpr std::size_t kPhPaddr = 24;
inline constexpr std::size_t kPhFileSize = 32;
inline constexpr std::size_t kPhMemSize = 40;
inline constexpr std::size_t kPhAlign = 48;
inline constexpr std::uint32_t kTypeLoad = 1;
inline constexpr std::uint32_t kTypeNote = 4;

inline constexpr std::size_t kNoteHeaderSize = 12;
// Xen's public/elfnote.h: the 32-bit physical entry point of the PVH boot ABI.
inline constexpr std::uint32_t kXenNotePhys32Entry = 18;
inline constexpr char kXenNoteName[] = "Xen";  // with its zero: 4 bytes

}  // namespace gemel::boot::elf
