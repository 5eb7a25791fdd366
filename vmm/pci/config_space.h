// The configuration registers of one function: bytes, with what a guest may change of them.
//
// 256 bytes are kept; the rest of the 4096 that PCI Express has reads as zero, which is an empty
// list of extended capabilities (PCIe 7.6.2), and takes no writes.
// Not thread-safe: the owner's lock is around it.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "base/load_le.h"

namespace gemel::pci {

class ConfigSpace {
 public:
  static constexpr std::size_t kSize = 4096;
  static constexpr std::size_t kStored = 256;

  // A register: its value at reset, which bits a guest may write, which it clears by writing ones.
  // A bit that no Define named reads 0 and cannot be written.
  template <class T>
    requires std::is_unsigned_v<T>
  void Define(std::size_t offset, T value, std::type_identity_t<T> writable = 0,
              std::type_identity_t<T> clearable = 0) {
    StoreLe(std::span(bytes_), offset, value);
    StoreLe(std::span(reset_), offset, value);
    StoreLe<T>(std::span(writable_), offset, writable);
    StoreLe<T>(std::span(clearable_), offset, clearable);
  }

  template <class T>
  T Get(std::size_t offset) const {
    return LoadLe<T>(bytes_, offset);
  }
  // The hardware's own change of a register.
  template <class T>
  void Set(std::size_t offset, T value) {
    StoreLe(std::span(bytes_), offset, value);
  }

  // Accesses of a guest, of any width and alignment. REQUIRES: they lie within kSize.
  void Read(std::size_t offset, std::span<std::byte> data) const;
  void Write(std::size_t offset, std::span<const std::byte> data);

  // Every register as Define said.
  void Reset() { bytes_ = reset_; }

 private:
  using Bytes = std::array<std::byte, kStored>;
  Bytes bytes_{};
  Bytes reset_{};
  Bytes writable_{};
  Bytes clearable_{};
};

}  // namespace gemel::pci
