// Big-endian loads and stores on bytes, as SCSI has its numbers; load_le.h otherwise.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "base/check.h"

namespace gemel {

// REQUIRES: offset + sizeof(T) <= bytes.size(), which is checked.
template <class T>
  requires std::is_unsigned_v<T>
T LoadBe(std::span<const std::byte> bytes, std::size_t offset = 0) {
  CHECK(bytes.size() >= sizeof(T) && bytes.size() - sizeof(T) >= offset);
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<T>(static_cast<std::uint64_t>(value) << 8 |
                           static_cast<std::uint64_t>(bytes[offset + i]));
  return value;
}
inline std::uint16_t LoadBe16(std::span<const std::byte> b, std::size_t at = 0) {
  return LoadBe<std::uint16_t>(b, at);
}
inline std::uint32_t LoadBe32(std::span<const std::byte> b, std::size_t at = 0) {
  return LoadBe<std::uint32_t>(b, at);
}
inline std::uint64_t LoadBe64(std::span<const std::byte> b, std::size_t at = 0) {
  return LoadBe<std::uint64_t>(b, at);
}

// REQUIRES: offset + sizeof(T) <= bytes.size(), which is checked.
template <class T>
  requires std::is_unsigned_v<T>
void StoreBe(std::span<std::byte> bytes, std::size_t offset, T value) {
  CHECK(bytes.size() >= sizeof(T) && bytes.size() - sizeof(T) >= offset);
  for (std::size_t i = 0; i < sizeof(T); ++i)
    bytes[offset + i] =
        static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * (sizeof(T) - 1 - i)));
}

}  // namespace gemel
