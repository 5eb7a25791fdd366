// ELF64 kernels with a PVH entry (an uncompressed Linux `vmlinux` with CONFIG_PVH, unikernels).
// Xen: docs/misc/pvh.pandoc, "x86/HVM direct boot ABI"; public/elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY.
//
// Not implemented: ELF32, relocation (a position-independent kernel is loaded at its p_paddr too),
// section headers, more than 128 program headers.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/boot/image_file.h"
#include "vmm/boot/loaded_kernel.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::boot {

// What is to be read where. Everything is checked against the file, nothing against memory.
struct ElfImage {
  struct Segment {
    std::uint64_t file_offset = 0;
    std::uint64_t file_size = 0;
    std::uint64_t address = 0;
    std::uint64_t memory_size = 0;  // >= file_size; the rest is zero (bss)
  };
  std::vector<Segment> segments;  // by address, disjoint, none empty
  std::uint32_t entry = 0;        // inside a segment
};

// True if a file that begins so is for LoadElf, whose errors then are the ones worth reading.
bool LooksLikeElf(std::span<const std::byte> head);

// Reads headers and notes only. kInvalidArgument naming what is wrong with the file; one that is
// sound but has no PVH entry among them.
Result<ElfImage> ParseElf(const ImageFile& file);

// The entry point that the notes of one PT_NOTE segment name, aligned to `align` (4 or 8; others
// count as 4). Malformed notes end the search: what comes after cannot be found.
std::optional<std::uint32_t> FindPvhEntry(std::span<const std::byte> notes, std::uint64_t align);

// Reads the segments into `memory`, whose RAM must read as zero (new or cleared): bss is left as it
// is. kInvalidArgument if a segment is not all RAM above 1 MiB. REQUIRES: no vCPU runs.
Result<LoadedKernel> LoadElf(const ImageFile& file, const GuestMemory& memory);

}  // namespace gemel::boot
