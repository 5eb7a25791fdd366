// A virtio device as the driver sees it: the same registers at other addresses, whichever transport
// it sits behind.
#pragma once
#include <cstdint>

#include "tests/guests/runtime/runtime.h"

namespace bench {

// A register of 1, 2 or 4 bytes; 0 bytes: this transport has none.
struct Register {
  std::uint64_t address = 0;
  std::uint8_t bytes = 0;

  void Write(std::uint32_t value) const;
  std::uint32_t Read() const;
};

inline void Register::Write(std::uint32_t value) const {
  if (bytes == 1) guest::Write(address, static_cast<std::uint8_t>(value));
  if (bytes == 2) guest::Write(address, static_cast<std::uint16_t>(value));
  if (bytes == 4) guest::Write(address, value);
}

inline std::uint32_t Register::Read() const {
  if (bytes == 1) return guest::Read<std::uint8_t>(address);
  if (bytes == 2) return guest::Read<std::uint16_t>(address);
  if (bytes == 4) return guest::Read<std::uint32_t>(address);
  return 0;
}

struct Registers {
  Register device_features, device_features_select, driver_features, driver_features_select;
  Register status;
  Register queue_select, queue_max, queue_size, queue_enable;
  Register descriptors_low, descriptors_high, driver_low, driver_high, device_low, device_high;
  Register queue_vector;                     // MSI-X
  Register queue_notify_offset;              // PCI: times notify_multiplier, added to notify
  Register interrupt_status, interrupt_ack;  // without an ack, reading the status is one
  Register notify;
  std::uint32_t notify_multiplier = 0;
  std::uint64_t config = 0;
};

enum class Type : std::uint32_t { kNet = 1, kBlock = 2 };

struct Device {
  const char* transport = "";  // null-terminated; "" if none was found
  Registers registers;
  std::uint32_t interrupt_pin = 0;  // of the IOAPIC, if there is no MSI-X
  std::uint64_t msix_table = 0;

  bool found() const { return *transport != 0; }
};

// The first device of the type behind each transport. Not found: see Device::found.
Device FindMmioDevice(Type type);
Device FindPciDevice(Type type);

inline constexpr std::uint64_t kVersion1 = 1ull << 32;
inline constexpr std::uint64_t kEventIndex = 1ull << 29;
inline constexpr std::uint64_t kIndirect = 1ull << 28;

// Resets the device and agrees on those of `wanted` that it offers. Returns them, 0 if it refuses.
std::uint64_t Negotiate(const Registers& registers, std::uint64_t wanted);
// The device may use its queues from here on.
void Start(const Registers& registers);
// Waits until the device has let go of everything.
void Reset(const Registers& registers);

// Has the device interrupt this processor, which counts (Interrupts) and otherwise does nothing.
// Before the queues are set up.
void EnableInterrupt(const Device& device);
// So many interrupts there were.
std::uint64_t Interrupts();

}  // namespace bench
