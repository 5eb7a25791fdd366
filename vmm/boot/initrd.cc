#include "vmm/boot/initrd.h"

#include <algorithm>

#include "vmm/arch/x86/layout.h"

namespace gemel::boot {
namespace {

constexpr std::uint64_t kPageMask = 4095;

// End of the RAM that begins at or below 1 MiB.
std::uint64_t LowRamEnd(const GuestMemory& memory) {
  for (const GuestMemory::Region& region : memory.regions()) {
    const std::uint64_t end = region.start.value + region.size;
    if (region.start.value <= x86::kHighRam && end > x86::kHighRam) return end;
  }
  return 0;
}

}  // namespace

std::optional<std::uint64_t> PlaceInitrd(std::uint64_t size, std::uint64_t limit,
                                         const LoadedKernel& kernel) {
  const auto below = [size](std::uint64_t end) -> std::optional<std::uint64_t> {
    if (end < size || ((end - size) & ~kPageMask) < x86::kHighRam) return std::nullopt;
    return (end - size) & ~kPageMask;
  };
  const std::optional<std::uint64_t> top = below(limit);
  if (!top || *top >= kernel.end || *top + size <= kernel.start) return top;
  return below(kernel.start);
}

Result<Placement> LoadInitrd(const ImageFile& file, const LoadedKernel& kernel,
                             const GuestMemory& memory) {
  const std::uint64_t limit = std::min(LowRamEnd(memory), kernel.initrd_max + 1);
  const std::optional<std::uint64_t> at = PlaceInitrd(file.size(), limit, kernel);
  if (!at)
    return file.Invalid("{} does not fit beside the kernel in {} of memory",
                        FormatBytes(file.size()), FormatBytes(memory.size()));
  RETURN_IF_ERROR(file.Read(0, memory.HostRange(GuestAddress{*at}, file.size())));
  return Placement{*at, file.size()};
}

}  // namespace gemel::boot
