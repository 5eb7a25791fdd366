// Where PCI's registers lie in configuration space, and their bits (PCI Local Bus 3.0 chapter 6,
// PCI-to-PCI Bridge 1.2 chapter 3, PCI Express Base 6.1 section 7.5, PCI Power Management 1.2).
#pragma once
#include <cstddef>
#include <cstdint>

namespace gemel::pci {

// ---- every header -------------------------------------------------------------------------------
inline constexpr std::size_t kVendorId = 0x00;
inline constexpr std::size_t kDeviceId = 0x02;
inline constexpr std::size_t kCommand = 0x04;
inline constexpr std::size_t kStatus = 0x06;
inline constexpr std::size_t kRevision = 0x08;  // and the class code in the three bytes after it
inline constexpr std::size_t kCacheLineSize = 0x0c;
inline constexpr std::size_t kHeaderType = 0x0e;
inline constexpr std::size_t kBar0 = 0x10;
constexpr std::size_t BarOffset(unsigned index) { return kBar0 + std::size_t{4} * index; }
inline constexpr std::size_t kCapabilities = 0x34;
inline constexpr std::size_t kInterruptLine = 0x3c;
inline constexpr std::size_t kInterruptPin = 0x3d;

inline constexpr std::uint16_t kCommandIo = 1 << 0;
inline constexpr std::uint16_t kCommandMemory = 1 << 1;
inline constexpr std::uint16_t kCommandBusMaster = 1 << 2;
inline constexpr std::uint16_t kCommandParity = 1 << 6;
inline constexpr std::uint16_t kCommandSerr = 1 << 8;
inline constexpr std::uint16_t kCommandIntxDisable = 1 << 10;
inline constexpr std::uint16_t kStatusInterrupt = 1 << 3;
inline constexpr std::uint16_t kStatusCapabilities = 1 << 4;
inline constexpr std::uint8_t kHeaderMultifunction = 0x80;

// ---- type 0: endpoints --------------------------------------------------------------------------
inline constexpr std::size_t kSubsystemVendorId = 0x2c;
inline constexpr std::size_t kSubsystemId = 0x2e;

inline constexpr std::uint32_t kBarIo = 1;
inline constexpr std::uint32_t kBarMemory64 = 4;
inline constexpr std::uint32_t kBarPrefetchable = 8;

// ---- type 1: bridges ----------------------------------------------------------------------------
inline constexpr std::size_t kPrimaryBus = 0x18;
inline constexpr std::size_t kSecondaryBus = 0x19;
inline constexpr std::size_t kSubordinateBus = 0x1a;
inline constexpr std::size_t kIoBase = 0x1c;
inline constexpr std::size_t kIoLimit = 0x1d;
inline constexpr std::size_t kSecondaryStatus = 0x1e;
inline constexpr std::size_t kMemoryBase = 0x20;
inline constexpr std::size_t kMemoryLimit = 0x22;
inline constexpr std::size_t kPrefetchableBase = 0x24;
inline constexpr std::size_t kPrefetchableLimit = 0x26;
inline constexpr std::size_t kPrefetchableBaseHigh = 0x28;
inline constexpr std::size_t kPrefetchableLimitHigh = 0x2c;
inline constexpr std::size_t kBridgeControl = 0x3e;

// ---- capabilities -------------------------------------------------------------------------------
inline constexpr std::uint8_t kCapPowerManagement = 0x01;
inline constexpr std::uint8_t kCapMsi = 0x05;
inline constexpr std::uint8_t kCapVendor = 0x09;
inline constexpr std::uint8_t kCapSubsystem = 0x0d;
inline constexpr std::uint8_t kCapExpress = 0x10;
inline constexpr std::uint8_t kCapMsix = 0x11;

// Power management: offsets from the capability.
inline constexpr std::size_t kPmCapabilities = 2;
inline constexpr std::size_t kPmControl = 4;
inline constexpr std::size_t kPmLength = 8;
inline constexpr std::uint16_t kPmStateMask = 3;  // 0: D0, 3: D3hot
inline constexpr std::uint16_t kPmNoSoftReset = 1 << 3;

// MSI-X.
inline constexpr std::size_t kMsixControl = 2;
inline constexpr std::size_t kMsixTable = 4;
inline constexpr std::size_t kMsixPending = 8;
inline constexpr std::size_t kMsixLength = 12;
inline constexpr std::uint16_t kMsixFunctionMask = 1 << 14;
inline constexpr std::uint16_t kMsixEnable = 1 << 15;

// PCI Express.
inline constexpr std::size_t kExpFlags = 0x02;
inline constexpr std::size_t kExpDeviceCapabilities = 0x04;
inline constexpr std::size_t kExpDeviceControl = 0x08;
inline constexpr std::size_t kExpDeviceStatus = 0x0a;
inline constexpr std::size_t kExpLinkCapabilities = 0x0c;
inline constexpr std::size_t kExpLinkControl = 0x10;
inline constexpr std::size_t kExpLinkStatus = 0x12;
inline constexpr std::size_t kExpSlotCapabilities = 0x14;
inline constexpr std::size_t kExpSlotControl = 0x18;
inline constexpr std::size_t kExpSlotStatus = 0x1a;
inline constexpr std::size_t kExpRootControl = 0x1c;
inline constexpr std::size_t kExpRootStatus = 0x20;
inline constexpr std::size_t kExpDeviceControl2 = 0x28;
inline constexpr std::size_t kExpLinkCapabilities2 = 0x2c;
inline constexpr std::size_t kExpLinkControl2 = 0x30;
inline constexpr std::size_t kExpLength = 0x3c;  // version 2
inline constexpr std::uint16_t kExpVersion2 = 2;
inline constexpr std::uint16_t kExpRootPort = 4 << 4;
inline constexpr std::uint16_t kExpIntegratedEndpoint = 9 << 4;
inline constexpr std::uint16_t kExpSlotImplemented = 1 << 8;
inline constexpr std::uint32_t kExpRoleBasedErrors = 1u << 15;
inline constexpr std::uint32_t kExpFunctionReset = 1u << 28;    // Device Capabilities
inline constexpr std::uint16_t kExpInitiateReset = 1u << 15;    // Device Control
inline constexpr std::uint16_t kExpDeviceControlBits = 0x78ff;  // all but those without a function
inline constexpr std::uint16_t kExpDeviceControlReset =
    0x2810;  // 512-byte reads, relaxed, no snoop

}  // namespace gemel::pci
