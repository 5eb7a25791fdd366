// virtio-pci, modern only (virtio 1.2, 4.1): found on bus 0 by the ports 0xcf8 and 0xcfc. Its BARs are
// where firmware has put them.
#include "tests/guests/bench/device.h"
#include "tests/guests/bench/page_tables.h"

namespace bench {
namespace {

constexpr std::uint16_t kConfigAddress = 0xcf8, kConfigData = 0xcfc;
constexpr std::uint32_t kVendor = 0x1af4, kModernBase = 0x1040, kTransitionalBase = 0x1000;

// Offsets of configuration space (PCI 3.0, 6.1, 6.7).
constexpr std::uint32_t kCommand = 0x04, kBars = 0x10, kCapabilities = 0x34;
constexpr std::uint32_t kMemoryAndBusMaster = 6, kInterruptDisable = 1 << 10;
constexpr std::uint8_t kMsixCapability = 0x11, kVendorCapability = 0x09;
constexpr std::uint32_t kMsixEnable = 1u << 31;  // of the capability's first 32 bits
constexpr std::uint32_t kBarIs64Bit = 4;

// virtio_pci_cap.cfg_type (virtio 1.2, 4.1.4).
enum class Structure : std::uint8_t { kCommon = 1, kNotify = 2, kIsr = 3, kDevice = 4 };

std::uint32_t ReadConfig(std::uint32_t slot, std::uint32_t offset) {
  guest::Out32(kConfigAddress, 1u << 31 | slot << 11 | (offset & 0xfc));
  return guest::In32(kConfigData);
}
void WriteConfig(std::uint32_t slot, std::uint32_t offset, std::uint32_t value) {
  guest::Out32(kConfigAddress, 1u << 31 | slot << 11 | (offset & 0xfc));
  guest::Out32(kConfigData, value);
}

bool IsOne(std::uint32_t id, Type type) {
  const std::uint32_t transitional = type == Type::kNet ? 0 : 1;
  return id == ((kModernBase + static_cast<std::uint32_t>(type)) << 16 | kVendor) ||
         id == ((kTransitionalBase + transitional) << 16 | kVendor);
}

// Where `offset` of the BAR is in memory; usable from here on. 0: nowhere.
std::uint64_t BarAddress(std::uint32_t slot, std::uint32_t bar, std::uint64_t offset) {
  const std::uint32_t low = ReadConfig(slot, kBars + 4 * bar);
  std::uint64_t base = low & ~0xfu;
  if ((low & kBarIs64Bit) != 0) base |= std::uint64_t{ReadConfig(slot, kBars + 4 * bar + 4)} << 32;
  if (base == 0 || !MapMemory(base + offset)) return 0;
  return base + offset;
}

// virtio_pci_common_cfg (4.1.4.3).
void FillCommon(Registers& registers, std::uint64_t base) {
  registers.device_features_select = {base + 0x00, 4};
  registers.device_features = {base + 0x04, 4};
  registers.driver_features_select = {base + 0x08, 4};
  registers.driver_features = {base + 0x0c, 4};
  registers.status = {base + 0x14, 1};
  registers.queue_select = {base + 0x16, 2};
  registers.queue_max = {base + 0x18, 2};
  registers.queue_size = {base + 0x18, 2};
  registers.queue_vector = {base + 0x1a, 2};
  registers.queue_enable = {base + 0x1c, 2};
  registers.queue_notify_offset = {base + 0x1e, 2};
  registers.descriptors_low = {base + 0x20, 4};
  registers.descriptors_high = {base + 0x24, 4};
  registers.driver_low = {base + 0x28, 4};
  registers.driver_high = {base + 0x2c, 4};
  registers.device_low = {base + 0x30, 4};
  registers.device_high = {base + 0x34, 4};
}

void FillVendor(std::uint32_t slot, std::uint32_t at, Registers& registers) {
  const auto structure = static_cast<Structure>(ReadConfig(slot, at) >> 24);
  if (structure < Structure::kCommon || structure > Structure::kDevice) return;
  const std::uint32_t bar = ReadConfig(slot, at + 4) & 0xff;
  const std::uint64_t base = BarAddress(slot, bar, ReadConfig(slot, at + 8));
  switch (structure) {
    case Structure::kCommon:
      return FillCommon(registers, base);
    case Structure::kNotify:
      registers.notify = {base, 2};
      registers.notify_multiplier = ReadConfig(slot, at + 16);
      return;
    case Structure::kIsr:  // not needed with MSI-X
      return;
    case Structure::kDevice:
      registers.config = base;
      return;
  }
}

void FillMsix(std::uint32_t slot, std::uint32_t at, Device& device) {
  const std::uint32_t table = ReadConfig(slot, at + 4);
  device.msix_table = BarAddress(slot, table & 7, table & ~7u);
  WriteConfig(slot, at, ReadConfig(slot, at) | kMsixEnable);
}

Device Open(std::uint32_t slot) {
  Device device;
  device.transport = "pci";
  const std::uint32_t command = ReadConfig(slot, kCommand) & 0xffff;
  WriteConfig(slot, kCommand, command | kMemoryAndBusMaster | kInterruptDisable);
  std::uint32_t at = ReadConfig(slot, kCapabilities) & 0xfc;
  while (at != 0) {
    const std::uint32_t header = ReadConfig(slot, at);
    if ((header & 0xff) == kVendorCapability) FillVendor(slot, at, device.registers);
    if ((header & 0xff) == kMsixCapability) FillMsix(slot, at, device);
    at = header >> 8 & 0xfc;
  }
  return device;
}

}  // namespace

Device FindPciDevice(Type type) {
  constexpr std::uint32_t kSlots = 256;  // devices and functions
  for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
    if (IsOne(ReadConfig(slot, 0), type)) return Open(slot);
  }
  return {};
}

}  // namespace bench
