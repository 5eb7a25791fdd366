#include "vmm/boot/long_mode.h"

#include <array>
#include <cstdint>
#include <vector>

#include "vmm/arch/x86/boot_state.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/boot/guest_write.h"

namespace gemel::boot {
namespace {

constexpr std::uint64_t kPresentWritable = 0x3;
constexpr std::uint64_t kLargePage = 1 << 7;
constexpr std::size_t kEntries = 512;  // a table
constexpr std::size_t kDirectories = 4;
constexpr std::uint64_t kTableBytes = kEntries * sizeof(std::uint64_t);

}  // namespace

Status WriteLongModeTables(const GuestMemory& memory) {
  // PML4, PDPT, then the directories, one after the other.
  std::vector<std::uint64_t> tables((2 + kDirectories) * kEntries);
  tables[0] = (x86::kPageTables + kTableBytes) | kPresentWritable;
  for (std::size_t i = 0; i < kDirectories; ++i)
    tables[kEntries + i] = (x86::kPageTables + (2 + i) * kTableBytes) | kPresentWritable;
  for (std::size_t i = 0; i < kDirectories * kEntries; ++i)
    tables[2 * kEntries + i] = (std::uint64_t{i} << 21) | kPresentWritable | kLargePage;
  RETURN_IF_ERROR(WriteGuest(memory, x86::kPageTables, std::as_bytes(std::span(tables))));
  return WriteGuest(memory, x86::kGdtAddress, std::as_bytes(std::span(x86::kBootGdt64)));
}

}  // namespace gemel::boot
