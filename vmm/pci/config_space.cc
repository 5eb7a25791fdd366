#include "vmm/pci/config_space.h"

#include <algorithm>

namespace gemel::pci {

void ConfigSpace::Read(std::size_t offset, std::span<std::byte> data) const {
  std::ranges::fill(data, std::byte{0});
  if (offset >= kStored) return;
  std::memcpy(data.data(), bytes_.data() + offset, std::min(data.size(), kStored - offset));
}

void ConfigSpace::Write(std::size_t offset, std::span<const std::byte> data) {
  for (std::size_t i = 0; i < data.size() && offset < kStored; ++i, ++offset) {
    const std::byte kept = bytes_[offset] & ~writable_[offset] & ~(data[i] & clearable_[offset]);
    bytes_[offset] = kept | (data[i] & writable_[offset]);
  }
}

}  // namespace gemel::pci
