// Linux bzImages, by the 64-bit boot protocol (Documentation/arch/x86/boot.rst of Linux, "The
// Real-Mode Kernel Header" and "64-bit Boot Protocol"). The kernel unpacks itself in the guest.
//
// Not implemented: zImages, kernels before protocol 2.12 or without a 64-bit entry, setup_data, EFI
// handover, loading anywhere but at the preferred address.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/boot/image_file.h"
#include "vmm/boot/loaded_kernel.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::boot {

// As much of a file's beginning as ParseBzImage looks at.
inline constexpr std::size_t kBzImageHeadBytes = 0x290;

struct BzImage {
  std::uint64_t payload_offset = 0;  // of the protected-mode kernel in the file
  std::uint64_t payload_size = 0;
  std::uint64_t load_address = 0;
  std::uint64_t memory_size = 0;  // init_size: what it needs from load_address on, >= payload_size
  std::uint64_t cmdline_max = 0;
  std::uint64_t initrd_max = 0;
  std::vector<std::byte> setup_header;
};

// True if a file that begins so is for LoadBzImage.
bool LooksLikeBzImage(std::span<const std::byte> head);

// Pure, but for words of an error. `head` is the file's first kBzImageHeadBytes, or all of a
// shorter one.
Result<BzImage> ParseBzImage(const ImageFile& file, std::span<const std::byte> head);

// Reads the kernel into `memory`. kInvalidArgument if it is not one, is truncated, or needs more
// memory than there is. REQUIRES: no vCPU runs.
Result<LoadedKernel> LoadBzImage(const ImageFile& file, std::span<const std::byte> head,
                                 const GuestMemory& memory);

}  // namespace gemel::boot
