#include "vmm/bus/io_bus.h"

#include <algorithm>
#include <cstring>

namespace gemel {

Status IoBus::Map(std::uint64_t base, std::uint64_t size, IoHandler* handler) {
  if (size == 0 || base > UINT64_MAX - (size - 1))
    return InvalidArgument("{}: range {:#x}+{:#x} is empty or wraps", handler->name(), base, size);
  for (const Mapping& other : mappings_) {
    const bool apart =
        base > other.base ? base - other.base >= other.size : other.base - base >= size;
    if (apart) continue;
    return MakeError(Code::kAlreadyExists,
                     fmt::format("{} at {:#x}+{:#x} overlaps {} at {:#x}+{:#x}", handler->name(),
                                 base, size, other.handler->name(), other.base, other.size));
  }
  const auto after = std::ranges::upper_bound(mappings_, base, {}, &Mapping::base);
  mappings_.insert(after, Mapping{base, size, handler});
  return {};
}

const IoBus::Mapping* IoBus::Find(std::uint64_t address, std::size_t width) const {
  const auto after = std::ranges::upper_bound(mappings_, address, {}, &Mapping::base);
  if (after == mappings_.begin()) return nullptr;
  const Mapping& mapping = *(after - 1);
  const std::uint64_t offset = address - mapping.base;
  if (offset >= mapping.size || mapping.size - offset < width) return nullptr;
  return &mapping;
}

bool IoBus::Read(std::uint64_t address, std::span<std::byte> data) const {
  const Mapping* mapping = Find(address, data.size());
  if (mapping == nullptr) {
    std::memset(data.data(), 0xff, data.size());
    return false;
  }
  mapping->handler->Read(address - mapping->base, data);
  return true;
}

bool IoBus::Write(std::uint64_t address, std::span<const std::byte> data) const {
  const Mapping* mapping = Find(address, data.size());
  if (mapping == nullptr) return false;
  mapping->handler->Write(address - mapping->base, data);
  return true;
}

}  // namespace gemel
