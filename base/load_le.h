// Little-endian loads and stores on bytes. Wire and register formats go through these, never
// through a cast of the buffer.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "base/check.h"

namespace gemel {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "x86-64 only");

// REQUIRES: offset + sizeof(T) <= bytes.size(), which is checked.
template <class T>
  requires std::is_unsigned_v<T>
T LoadLe(std::span<const std::byte> bytes, std::size_t offset = 0) {
  CHECK(bytes.size() >= sizeof(T) && bytes.size() - sizeof(T) >= offset);
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}
inline std::uint16_t LoadLe16(std::span<const std::byte> b, std::size_t at = 0) {
  return LoadLe<std::uint16_t>(b, at);
}
inline std::uint32_t LoadLe32(std::span<const std::byte> b, std::size_t at = 0) {
  return LoadLe<std::uint32_t>(b, at);
}
inline std::uint64_t LoadLe64(std::span<const std::byte> b, std::size_t at = 0) {
  return LoadLe<std::uint64_t>(b, at);
}

// REQUIRES: offset + sizeof(T) <= bytes.size(), which is checked.
template <class T>
  requires std::is_unsigned_v<T>
void StoreLe(std::span<std::byte> bytes, std::size_t offset, T value) {
  CHECK(bytes.size() >= sizeof(T) && bytes.size() - sizeof(T) >= offset);
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

// What a register access of 1 to 8 bytes holds; longer ones are cut to 8.
inline std::uint64_t LoadRegister(std::span<const std::byte> data) {
  std::uint64_t value = 0;
  std::memcpy(&value, data.data(), data.size() < sizeof value ? data.size() : sizeof value);
  return value;
}
// The answer to a register read: `value` cut or zero-extended to the access's width.
inline void StoreRegister(std::span<std::byte> data, std::uint64_t value) {
  const std::size_t n = data.size() < sizeof value ? data.size() : sizeof value;
  std::memcpy(data.data(), &value, n);
  if (data.size() > n) std::memset(data.data() + n, 0, data.size() - n);
}

}  // namespace gemel
