// GuestMemory::WriteBytes with an error in words, for structures at fixed addresses.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::boot {

inline Status WriteGuest(const GuestMemory& memory, std::uint64_t address,
                         std::span<const std::byte> bytes) {
  if (!memory.WriteBytes(GuestAddress{address}, bytes))
    return InvalidArgument("memory: {} bytes at {:#x} are not RAM", bytes.size(), address);
  return {};
}

}  // namespace gemel::boot
