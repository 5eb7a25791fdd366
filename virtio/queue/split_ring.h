// The wire layout of a split virtqueue (virtio 1.2, section 2.7), all little-endian:
//
//   descriptor table, 16-aligned     driver ring ("available"), 2-aligned     device ring ("used"),
//   4-aligned +0  le64 address                 +0  le16 flags: 1 = no interrupts        +0  le16
//   flags: 1 = no kicks +8  le32 length                  +2  le16 idx: next free entry +2  le16
//   idx: next free entry +12 le16 flags                   +4  le16 ring[size]: chain heads +4  {
//   le32 id; le32 len; }[size] +14 le16 next                    +4 + 2·size  le16 used_event +4 +
//   8·size  le16 avail_event (one a descriptor)               (only the driver writes) (only the
//   device writes)
//
// Both idx run freely through 16 bits; an entry's place is idx modulo size. The event fields mean
// something only with VIRTIO_F_EVENT_IDX, but their space belongs to the rings always.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gemel::virtio {

struct Descriptor {
  std::uint64_t address;
  std::uint32_t length;
  std::uint16_t flags;
  std::uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);
static_assert(offsetof(Descriptor, length) == 8);
static_assert(offsetof(Descriptor, flags) == 12);
static_assert(offsetof(Descriptor, next) == 14);

// Descriptor::flags (2.7.5).
inline constexpr std::uint16_t kDescriptorNext = 1;
inline constexpr std::uint16_t kDescriptorWrite = 2;
inline constexpr std::uint16_t kDescriptorIndirect = 4;

struct UsedElement {
  std::uint32_t id;      // the head of the chain given back
  std::uint32_t length;  // bytes written to it
};
static_assert(sizeof(UsedElement) == 8);

inline constexpr std::uint16_t kAvailNoInterrupt = 1;  // driver ring flags (2.7.6)
inline constexpr std::uint16_t kUsedNoNotify = 1;      // device ring flags (2.7.8)

inline constexpr std::uint16_t kMaxQueueSize = 32768;  // 2.7

inline constexpr std::size_t kRingFlags = 0;
inline constexpr std::size_t kRingIndex = 2;
inline constexpr std::size_t kRingEntries = 4;

inline constexpr std::size_t kDescriptorAlignment = 16;
inline constexpr std::size_t kDriverRingAlignment = 2;
inline constexpr std::size_t kDeviceRingAlignment = 4;

constexpr std::size_t DescriptorTableBytes(std::size_t size) { return sizeof(Descriptor) * size; }
constexpr std::size_t DriverRingBytes(std::size_t size) { return 6 + 2 * size; }
constexpr std::size_t DeviceRingBytes(std::size_t size) { return 6 + 8 * size; }
constexpr std::size_t UsedEventOffset(std::size_t size) { return kRingEntries + 2 * size; }
constexpr std::size_t AvailEventOffset(std::size_t size) {
  return kRingEntries + sizeof(UsedElement) * size;
}

// Whether a notification is due when an index moved from `old_index` to `new_index` and the other
// side asked for one at `event` (2.7.7.2, 2.7.10.2): event lies in [old_index, new_index), modulo
// 2^16.
constexpr bool EventDue(std::uint16_t event, std::uint16_t old_index, std::uint16_t new_index) {
  return static_cast<std::uint16_t>(new_index - event - 1) <
         static_cast<std::uint16_t>(new_index - old_index);
}

}  // namespace gemel::virtio
