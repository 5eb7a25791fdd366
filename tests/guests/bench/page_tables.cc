#include "tests/guests/bench/page_tables.h"

#include <cstddef>

namespace bench {
namespace {

using Table = std::uint64_t[512];
constexpr std::uint64_t kTableFlags = 0x7;  // present, writable, for user mode
constexpr std::uint64_t kPageFlags = 0x9f;  // the same, uncached, 2 MiB
constexpr std::uint64_t kAddressMask = 0x000ffffffffff000;

constexpr std::size_t kSpareTables = 8;
alignas(4096) Table spare[kSpareTables];
std::size_t used = 0;

std::uint64_t* TableAt(std::uint64_t address) { return reinterpret_cast<std::uint64_t*>(address); }

// The table below the entry, made if there is none; null when there are no more.
std::uint64_t* Below(std::uint64_t& entry) {
  if (entry == 0) {
    if (used == kSpareTables) return nullptr;
    entry = reinterpret_cast<std::uint64_t>(spare[used++]) | kTableFlags;
  }
  return TableAt(entry & kAddressMask);
}

}  // namespace

bool MapMemory(std::uint64_t address) {
  std::uint64_t root;
  asm volatile("mov %%cr3, %0" : "=r"(root));
  std::uint64_t* const directories = Below(TableAt(root & kAddressMask)[address >> 39 & 511]);
  if (directories == nullptr) return false;
  std::uint64_t* const pages = Below(directories[address >> 30 & 511]);
  if (pages == nullptr) return false;
  std::uint64_t& page = pages[address >> 21 & 511];
  if (page == 0) page = (address & ~0x1fffffull) | kPageFlags;
  return true;
}

}  // namespace bench
