// ACPI fixed hardware: the PM1 event and control registers (ACPI 6.5, 4.8.3), the power button and
// the way to S5.
//
//   +0 PM1_STS (16 bits, write 1 to clear)    +2 PM1_EN (16)    +4 PM1_CNT (16)
//
// The machine is in ACPI mode from the start (SCI_EN reads 1; the FADT has no SMI command). The SCI
// is a level on hardware; here it is triggered whenever a status bit and its enable bit come to be
// set, and again when a guest clears one while others remain.
//
// Not implemented: PM timer and sleep button (their bits stay 0), the global lock and RTC wake
// (GBL_EN and RTC_EN are kept, nothing comes of them), sleep states other than S5.
#pragma once
#include <cstdint>

#include "base/mutex.h"
#include "vmm/bus/interrupt.h"
#include "vmm/bus/io_handler.h"
#include "vmm/devices/machine_events.h"

namespace gemel {

class PowerManagement final : public IoHandler {
 public:
  static constexpr std::uint64_t kPorts = 6;
  static constexpr std::uint8_t kSleepTypeS5 = 5;  // for \_S5 in the DSDT

  // Both outlive it.
  PowerManagement(Interrupt* sci, MachineEvents* events) : sci_(sci), events_(events) {}

  std::string_view name() const override { return "pm"; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override EXCLUDES(mutex_);
  void Write(std::uint64_t offset, std::span<const std::byte> data) override EXCLUDES(mutex_);

  // Any thread. A press that the guest has not seen yet takes the next one in.
  void PressPowerButton() EXCLUDES(mutex_);
  // As after power-on.
  void Reset() EXCLUDES(mutex_);

 private:
  std::uint8_t ReadByte(std::uint64_t offset) const REQUIRES(mutex_);
  void WriteByte(std::uint64_t offset, std::uint8_t value) REQUIRES(mutex_);
  void RaiseSci() REQUIRES(mutex_);

  Interrupt* const sci_;
  MachineEvents* const events_;
  Mutex mutex_;
  std::uint16_t status_ GUARDED_BY(mutex_) = 0;
  std::uint16_t enable_ GUARDED_BY(mutex_) = 0;
  std::uint16_t control_ GUARDED_BY(mutex_) = 0;
};

}  // namespace gemel
