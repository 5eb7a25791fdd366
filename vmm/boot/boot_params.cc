#include "vmm/boot/boot_params.h"

#include <algorithm>

#include "base/check.h"
#include "base/load_le.h"

namespace gemel::boot {
namespace {

constexpr std::uint8_t kLoaderUndefined = 0xff;  // type_of_loader without an assigned id
constexpr std::uint16_t kVidModeNormal = 0xffff;

void StoreMemoryMap(std::span<std::byte> page, const std::vector<MapEntry>& map) {
  CHECK(map.size() <= zero_page::kE820MaxEntries);
  page[zero_page::kE820Entries] = static_cast<std::byte>(map.size());
  std::size_t at = zero_page::kE820Table;
  for (const MapEntry& entry : map) {
    StoreLe(page, at, entry.address);
    StoreLe(page, at + 8, entry.size);
    StoreLe(page, at + 16, static_cast<std::uint32_t>(entry.type));
    at += zero_page::kE820EntrySize;
  }
}

}  // namespace

std::vector<std::byte> BuildBootParams(std::span<const std::byte> setup_header,
                                       const BootInfo& info) {
  CHECK(setup_header.size() <= zero_page::kSetupHeaderEnd - zero_page::kSetupHeader);
  std::vector<std::byte> bytes(zero_page::kSize);
  const std::span<std::byte> page(bytes);
  std::ranges::copy(setup_header, page.begin() + zero_page::kSetupHeader);
  StoreLe(page, zero_page::kVidMode, kVidModeNormal);
  page[zero_page::kTypeOfLoader] = std::byte{kLoaderUndefined};
  StoreLe(page, zero_page::kCmdLinePtr, static_cast<std::uint32_t>(info.cmdline));
  StoreLe(page, zero_page::kSetupData, std::uint64_t{0});
  // Both 0 without an initrd: the file's own values mean nothing.
  const Placement initrd = info.initrd.value_or(Placement{});
  StoreLe(page, zero_page::kRamdiskImage, static_cast<std::uint32_t>(initrd.address));
  StoreLe(page, zero_page::kRamdiskSize, static_cast<std::uint32_t>(initrd.size));
  // Protocol 2.14 and later; older kernels look for the RSDP in 0xe0000-0xfffff, where it is too.
  StoreLe(page, zero_page::kAcpiRsdp, info.rsdp ? info.rsdp->value : std::uint64_t{0});
  StoreMemoryMap(page, info.memory_map);
  return bytes;
}

}  // namespace gemel::boot
