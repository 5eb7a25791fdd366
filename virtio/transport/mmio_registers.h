// The register layout of virtio over MMIO, version 2 (virtio 1.2, section 4.2.2). All registers are
// 32 bits wide, little-endian; configuration space starts at 0x100 and is accessed by the width of
// its fields.
//
//   000 MagicValue R     004 Version R         008 DeviceID R        00c VendorID R
//   010 DeviceFeatures R 014 DeviceFeaturesSel W
//   020 DriverFeatures W 024 DriverFeaturesSel W
//   030 QueueSel W       034 QueueNumMax R     038 QueueNum W        044 QueueReady RW
//   050 QueueNotify W    060 InterruptStatus R 064 InterruptACK W    070 Status RW
//   080 QueueDesc W      090 QueueDriver W     0a0 QueueDevice W     (each: low at +0, high at +4)
//   0ac SHMSel W         0b0 SHMLen R          0b8 SHMBase R         (each of the two: low, high)
//   0c0 QueueReset RW    0fc ConfigGeneration R
#pragma once
#include <cstdint>

namespace gemel::virtio::mmio {

inline constexpr std::uint32_t kMagic = 0x74726976;  // "virt"
inline constexpr std::uint32_t kVersion = 2;
inline constexpr std::uint32_t kVendor = 0x4c4d4547;  // "GEML"

enum Register : std::uint32_t {
  kMagicValue = 0x000,
  kVersionRegister = 0x004,
  kDeviceId = 0x008,
  kVendorId = 0x00c,
  kDeviceFeatures = 0x010,
  kDeviceFeaturesSel = 0x014,
  kDriverFeatures = 0x020,
  kDriverFeaturesSel = 0x024,
  kQueueSel = 0x030,
  kQueueNumMax = 0x034,
  kQueueNum = 0x038,
  kQueueReady = 0x044,
  kQueueNotify = 0x050,
  kInterruptStatus = 0x060,
  kInterruptAck = 0x064,
  kStatus = 0x070,
  kQueueDescLow = 0x080,
  kQueueDescHigh = 0x084,
  kQueueDriverLow = 0x090,
  kQueueDriverHigh = 0x094,
  kQueueDeviceLow = 0x0a0,
  kQueueDeviceHigh = 0x0a4,
  kShmSel = 0x0ac,
  kShmLenLow = 0x0b0,
  kShmLenHigh = 0x0b4,
  kShmBaseLow = 0x0b8,
  kShmBaseHigh = 0x0bc,
  kQueueReset = 0x0c0,
  kConfigGeneration = 0x0fc,
};
inline constexpr std::uint32_t kConfig = 0x100;

// InterruptStatus and InterruptACK.
inline constexpr std::uint32_t kInterruptQueue = 1;
inline constexpr std::uint32_t kInterruptConfig = 2;

}  // namespace gemel::virtio::mmio
