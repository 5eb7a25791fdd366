#include "tests/guests/bench/device.h"

namespace bench {
namespace {

// Device status (virtio 1.2, 2.1).
constexpr std::uint32_t kAcknowledge = 1, kDriver = 2, kDriverOk = 4, kFeaturesOk = 8;

constexpr std::uint8_t kVector = 0x60;

volatile std::uint64_t interrupts = 0;
constinit Registers interrupting;

void OnInterrupt(std::uint8_t) {
  interrupts = interrupts + 1;
  if (interrupting.interrupt_status.bytes != 0) {
    const std::uint32_t status = interrupting.interrupt_status.Read();
    interrupting.interrupt_ack.Write(status);
  }
  guest::EndOfInterrupt();
}

// PCI 3.0, 6.8.2: message address, data, mask.
void SetMessage(std::uint64_t table) {
  guest::Write<std::uint32_t>(table, 0xfee00000 | guest::ApicId() << 12);
  guest::Write<std::uint32_t>(table + 4, 0);
  guest::Write<std::uint32_t>(table + 8, kVector);
  guest::Write<std::uint32_t>(table + 12, 0);
}

}  // namespace

std::uint64_t Negotiate(const Registers& registers, std::uint64_t wanted) {
  Reset(registers);
  registers.status.Write(kAcknowledge);
  registers.status.Write(kAcknowledge | kDriver);
  registers.device_features_select.Write(0);
  std::uint64_t features = registers.device_features.Read();
  registers.device_features_select.Write(1);
  features |= std::uint64_t{registers.device_features.Read()} << 32;
  features &= wanted;
  registers.driver_features_select.Write(0);
  registers.driver_features.Write(static_cast<std::uint32_t>(features));
  registers.driver_features_select.Write(1);
  registers.driver_features.Write(static_cast<std::uint32_t>(features >> 32));
  registers.status.Write(kAcknowledge | kDriver | kFeaturesOk);
  return (registers.status.Read() & kFeaturesOk) != 0 ? features : 0;
}

void Start(const Registers& registers) {
  registers.status.Write(kAcknowledge | kDriver | kFeaturesOk | kDriverOk);
}

void Reset(const Registers& registers) {
  registers.status.Write(0);
  while (registers.status.Read() != 0) asm volatile("pause");
}

void EnableInterrupt(const Device& device) {
  guest::EnableApic();
  guest::SetHandler(kVector, OnInterrupt);
  if (device.msix_table != 0) {
    SetMessage(device.msix_table);
    return;
  }
  interrupting = device.registers;
  guest::RouteIoApic(device.interrupt_pin, kVector, guest::ApicId());
}

std::uint64_t Interrupts() { return interrupts; }

}  // namespace bench
