// Guest RAM for tests.
#pragma once
#include <cstdint>
#include <memory>

#include "base/check.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::testing {

// One region of RAM, [start, start + size).
inline std::unique_ptr<GuestMemory> MakeTestMemory(std::uint64_t size = 1 << 20,
                                                   std::uint64_t start = 0) {
  const MemoryRange range{GuestAddress{start}, size};
  auto memory = GuestMemory::Create({&range, 1}, MemoryBacking::kAnonymous);
  CHECK(memory.has_value());
  return *std::move(memory);
}

}  // namespace gemel::testing
