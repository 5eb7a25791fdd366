// Where the structures of virtio over PCI lie in BAR 0, the registers of the common one, and the
// capabilities that point there (virtio 1.2, 4.1.4).
//
//   BAR 0 (64-bit memory, 16 KiB)                BAR 2 (32-bit memory): MSI-X table and pending bits
//   0000 common configuration   1000 ISR status
//   2000 device configuration   3000 notification: four bytes a queue
//
//   common  00 device_feature_select RW  04 device_feature R   08 driver_feature_select RW
//           0c driver_feature RW         10 config_msix_vector RW (16 bits)  12 num_queues R (16)
//           14 device_status RW (8)      15 config_generation R (8)
//           16 queue_select RW (16)      18 queue_size RW (16)   1a queue_msix_vector RW (16)
//           1c queue_enable RW (16)      1e queue_notify_off R (16)
//           20 queue_desc RW (64)        28 queue_driver RW (64)  30 queue_device RW (64)
#pragma once
#include <cstddef>
#include <cstdint>

namespace gemel::virtio::pci_layout {

// ---- identity (4.1.2)
inline constexpr std::uint16_t kVendor = 0x1af4;
inline constexpr std::uint16_t kFirstModernDevice = 0x1040;  // plus the device type
inline constexpr std::uint8_t kRevision = 1;

// ---- BARs
inline constexpr unsigned kBar = 0;
inline constexpr unsigned kMsixBar = 2;
inline constexpr std::uint64_t kBarSize = 0x4000;
inline constexpr std::uint32_t kCommon = 0x0000;
inline constexpr std::uint32_t kCommonLength = 0x38;
inline constexpr std::uint32_t kIsr = 0x1000;
inline constexpr std::uint32_t kIsrLength = 1;
inline constexpr std::uint32_t kDeviceConfig = 0x2000;
inline constexpr std::uint32_t kDeviceConfigLength = 0x1000;
inline constexpr std::uint32_t kNotify = 0x3000;
inline constexpr std::uint32_t kNotifyMultiplier = 4;
constexpr std::uint64_t NotifyOffset(std::size_t queue) {
  return kNotify + queue * kNotifyMultiplier;
}
inline constexpr std::uint32_t kMaxQueues = (kBarSize - kNotify) / kNotifyMultiplier;

// ---- common configuration
inline constexpr std::uint32_t kDeviceFeatureSelect = 0x00;
inline constexpr std::uint32_t kDeviceFeature = 0x04;
inline constexpr std::uint32_t kDriverFeatureSelect = 0x08;
inline constexpr std::uint32_t kDriverFeature = 0x0c;
inline constexpr std::uint32_t kConfigVector = 0x10;
inline constexpr std::uint32_t kNumQueues = 0x12;
inline constexpr std::uint32_t kDeviceStatus = 0x14;
inline constexpr std::uint32_t kConfigGeneration = 0x15;
inline constexpr std::uint32_t kQueueSelect = 0x16;
inline constexpr std::uint32_t kQueueSize = 0x18;
inline constexpr std::uint32_t kQueueVector = 0x1a;
inline constexpr std::uint32_t kQueueEnable = 0x1c;
inline constexpr std::uint32_t kQueueNotifyOff = 0x1e;
inline constexpr std::uint32_t kQueueDesc = 0x20;
inline constexpr std::uint32_t kQueueDriver = 0x28;
inline constexpr std::uint32_t kQueueDevice = 0x30;

// ISR status.
inline constexpr std::uint8_t kIsrQueue = 1;
inline constexpr std::uint8_t kIsrConfig = 2;

// ---- struct virtio_pci_cap, offsets from the capability
inline constexpr std::size_t kCapLength = 2;  // cap_len
inline constexpr std::size_t kCapType = 3;
inline constexpr std::size_t kCapBar = 4;
inline constexpr std::size_t kCapOffset = 8;
inline constexpr std::size_t kCapSize = 12;    // of the structure
inline constexpr std::size_t kCapFixed = 16;   // length of the capability without what follows:
inline constexpr std::size_t kCapExtra = 16;   // notify_off_multiplier or pci_cfg_data
inline constexpr std::uint8_t kCapCommon = 1;  // cfg_type
inline constexpr std::uint8_t kCapNotify = 2;
inline constexpr std::uint8_t kCapIsr = 3;
inline constexpr std::uint8_t kCapDevice = 4;
inline constexpr std::uint8_t kCapPciConfig = 5;

}  // namespace gemel::virtio::pci_layout
