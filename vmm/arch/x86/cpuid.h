// CPUID as data.
#pragma once
#include <cstdint>

namespace gemel::x86 {

// One leaf, or one subleaf of a leaf whose answer depends on ECX.
struct CpuidEntry {
  std::uint32_t function = 0;
  std::uint32_t index = 0;
  bool index_matters = false;
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;
  friend bool operator==(const CpuidEntry&, const CpuidEntry&) = default;
};

}  // namespace gemel::x86
