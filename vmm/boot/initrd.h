// Where an initrd goes, and getting it there.
#pragma once
#include <cstdint>
#include <optional>

#include "base/result.h"
#include "vmm/boot/boot_info.h"
#include "vmm/boot/image_file.h"
#include "vmm/boot/loaded_kernel.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::boot {

// The highest page-aligned place for `size` bytes in [1 MiB, limit) outside [kernel.start,
// kernel.end); nothing if there is none. Pure.
std::optional<std::uint64_t> PlaceInitrd(std::uint64_t size, std::uint64_t limit,
                                         const LoadedKernel& kernel);

// Reads all of `file` into the highest place below 4 GiB that `kernel` allows. kInvalidArgument,
// naming both sizes, if it does not fit. REQUIRES: no vCPU runs.
Result<Placement> LoadInitrd(const ImageFile& file, const LoadedKernel& kernel,
                             const GuestMemory& memory);

}  // namespace gemel::boot
