#include "vmm/pci/config_access.h"

#include <algorithm>

#include "base/load_le.h"

namespace gemel::pci {
namespace {

constexpr std::uint32_t kEnable = 1u << 31;
constexpr std::uint32_t kAddressBits = kEnable | 0x00ff'fffc;  // the others read 0

ConfigAddress FromEcam(std::uint64_t offset) {
  return {.bus = static_cast<std::uint8_t>(offset >> 20),
          .devfn = {static_cast<std::uint8_t>(offset >> 12)},
          .offset = static_cast<std::uint16_t>(offset & 0xfff)};
}

ConfigAddress FromPort(std::uint32_t address, std::uint64_t byte) {
  return {.bus = static_cast<std::uint8_t>(address >> 16),
          .devfn = {static_cast<std::uint8_t>(address >> 8)},
          .offset = static_cast<std::uint16_t>((address & 0xfc) + byte)};
}

// How much of an access at `offset` lies in one dword.
std::size_t UpToDword(std::uint64_t offset, std::size_t size) {
  return std::min<std::size_t>(size, 4 - offset % 4);
}

}  // namespace

void EcamHandler::Read(std::uint64_t offset, std::span<std::byte> data) {
  while (!data.empty()) {
    const std::size_t size = UpToDword(offset, data.size());
    root_->ReadConfig(FromEcam(offset), data.first(size));
    data = data.subspan(size);
    offset += size;
  }
}

void EcamHandler::Write(std::uint64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    const std::size_t size = UpToDword(offset, data.size());
    root_->WriteConfig(FromEcam(offset), data.first(size));
    data = data.subspan(size);
    offset += size;
  }
}

void ConfigPorts::Read(std::uint64_t offset, std::span<std::byte> data) {
  std::ranges::fill(data, std::byte{0xff});
  const std::uint32_t address = address_;
  if (offset >= kData) {
    if ((address & kEnable) != 0) root_->ReadConfig(FromPort(address, offset - kData), data);
  } else if (offset == kAddress && data.size() == sizeof address) {
    StoreRegister(data, address);
  } else if (offset == kReset && data.size() == 1 && reset_ != nullptr) {
    reset_->Read(0, data);
  }
}

void ConfigPorts::Write(std::uint64_t offset, std::span<const std::byte> data) {
  const std::uint32_t address = address_;
  if (offset >= kData) {
    if ((address & kEnable) != 0) root_->WriteConfig(FromPort(address, offset - kData), data);
  } else if (offset == kAddress && data.size() == sizeof address) {
    address_ = LoadLe32(data) & kAddressBits;
  } else if (offset == kReset && data.size() == 1 && reset_ != nullptr) {
    reset_->Write(0, data);
  }
}

}  // namespace gemel::pci
