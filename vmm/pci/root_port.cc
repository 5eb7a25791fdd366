#include "vmm/pci/root_port.h"

#include <fmt/format.h>

namespace gemel::pci {
namespace {

// The ids of QEMU's root port, for which operating systems have generic drivers and no quirks.
constexpr Identity PortIdentity() {
  return {.vendor = 0x1b36,
          .device = 0x000c,
          .class_code = 0x060400,
          .header = Identity::Header::kBridge,
          .multifunction = true};
}

constexpr std::uint16_t kPrefetchable64 = 1;
constexpr std::uint16_t kBridgeControlBits = 0x005f;

constexpr std::size_t kMsiLength = 0x18;  // 64-bit address and a mask
constexpr std::uint16_t kMsi64 = 1 << 7, kMsiMaskable = 1 << 8, kMsiEnable = 1;

// One lane of 2.5 GT/s.
constexpr std::uint16_t kLink = 1 << 4 | 1;
constexpr std::uint32_t kLinkActiveReporting = 1u << 20;
constexpr std::uint16_t kLinkControlBits = 0x00db;
constexpr std::uint32_t kLinkSpeeds = 1u << 1;

// Attention button, power controller, two indicators, surprise removal, hot plug; no interlock, no
// latch.
constexpr std::uint32_t kSlot = 1u << 0 | 1u << 1 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6;
constexpr std::uint32_t kSlotNoCommandCompleted = 1u << 18;
constexpr unsigned kSlotNumberShift = 19;
constexpr std::uint16_t kSlotOff = 3 << 6 | 3 << 8 | 1 << 10;  // both indicators, power
constexpr std::uint16_t kSlotControlBits = 0x17ff;
constexpr std::uint16_t kSlotEvents = 0x011f;
constexpr std::uint16_t kRootControlBits = 0x001f;
constexpr std::uint32_t kRootPmeStatus = 1u << 16;

}  // namespace

RootPort::RootPort(unsigned number) : Function(fmt::format("root-port{}", number), PortIdentity()) {
  DefineBridge();
  AddPowerManagement();
  DefineExpress(number);
  DefineMsi();
  AddIntxPin(number % 4);
}

void RootPort::DefineBridge() {
  config().Define<std::uint8_t>(kPrimaryBus, 0, 0xff);
  config().Define<std::uint8_t>(kSecondaryBus, 0, 0xff);
  config().Define<std::uint8_t>(kSubordinateBus, 0, 0xff);
  config().Define<std::uint8_t>(kIoBase, 0, 0xf0);
  config().Define<std::uint8_t>(kIoLimit, 0, 0xf0);
  config().Define<std::uint16_t>(kMemoryBase, 0, 0xfff0);
  config().Define<std::uint16_t>(kMemoryLimit, 0, 0xfff0);
  config().Define(kPrefetchableBase, kPrefetchable64, 0xfff0);
  config().Define(kPrefetchableLimit, kPrefetchable64, 0xfff0);
  config().Define<std::uint32_t>(kPrefetchableBaseHigh, 0, 0xffff'ffff);
  config().Define<std::uint32_t>(kPrefetchableLimitHigh, 0, 0xffff'ffff);
  config().Define<std::uint16_t>(kBridgeControl, 0, kBridgeControlBits);
}

void RootPort::DefineMsi() {
  const std::size_t at = AddCapability(kCapMsi, kMsiLength);
  config().Define<std::uint16_t>(at + 0x02, kMsi64 | kMsiMaskable, kMsiEnable);
  config().Define<std::uint32_t>(at + 0x04, 0, 0xffff'fffc);
  config().Define<std::uint32_t>(at + 0x08, 0, 0xffff'ffff);
  config().Define<std::uint16_t>(at + 0x0c, 0, 0xffff);
  config().Define<std::uint32_t>(at + 0x10, 0, 1);
}

void RootPort::DefineExpress(unsigned number) {
  const std::size_t at = AddCapability(kCapExpress, kExpLength);
  config().Define<std::uint16_t>(at + kExpFlags, kExpVersion2 | kExpRootPort | kExpSlotImplemented);
  config().Define(at + kExpDeviceCapabilities, kExpRoleBasedErrors);
  config().Define(at + kExpDeviceControl, kExpDeviceControlReset, kExpDeviceControlBits);
  config().Define(at + kExpLinkCapabilities, kLink | kLinkActiveReporting | (number + 1) << 24);
  config().Define<std::uint16_t>(at + kExpLinkControl, 0, kLinkControlBits);
  config().Define(at + kExpLinkStatus, kLink);
  config().Define(at + kExpLinkCapabilities2, kLinkSpeeds);
  config().Define<std::uint16_t>(at + kExpLinkControl2, 1, 0xf);
  config().Define<std::uint16_t>(at + kExpRootControl, 0, kRootControlBits);
  config().Define<std::uint32_t>(at + kExpRootStatus, 0, 0, kRootPmeStatus);
  DefineSlot(at, number);
}

void RootPort::DefineSlot(std::size_t express, unsigned number) {
  config().Define(express + kExpSlotCapabilities,
                  kSlot | kSlotNoCommandCompleted | (number + 1) << kSlotNumberShift);
  config().Define(express + kExpSlotControl, kSlotOff, kSlotControlBits);
  config().Define<std::uint16_t>(express + kExpSlotStatus, 0, 0, kSlotEvents);
}

}  // namespace gemel::pci
