// ACPI fixed hardware: the PM1 event and control registers (ACPI 6.5, 4.8.3), power button, sleep
// button and the way to S5.
//
//   +0 PM1_STS (16 bits, write 1 to clear)    +2 PM1_EN (16)    +4 PM1_CNT (16)
//
// The machine is in ACPI mode from the start (SCI_EN reads 1; the FADT has no SMI command). The SCI
// is a level: up while a status bit and its enable bit are both set.
//
// Not implemented: the global lock and RTC wake (GBL_EN and RTC_EN are kept, nothing comes of
// them), the PM timer's carry as an interrupt (TMR_STS and TMR_EN work, but TMR_STS alone raises the
// SCI only when these registers are written next), sleep states other than S5.
#pragma once
#include <cstdint>

#include "base/mutex.h"
#include "vmm/bus/io_handler.h"
#include "vmm/bus/irq_lines.h"
#include "vmm/devices/machine_events.h"
#include "vmm/devices/pm_timer.h"

namespace gemel {

class PowerManagement final : public IoHandler {
 public:
  static constexpr std::uint64_t kPorts = 6;

  struct Options {
    IrqLines* lines = nullptr;        // outlives it
    std::uint32_t sci = 0;            // GSI
    MachineEvents* events = nullptr;  // outlives it
    std::uint8_t s5 = 5;              // the sleep type that powers off: \_S5 of the DSDT
    bool sleep_button = false;        // there is one
    PmTimer* timer = nullptr;         // outlives it; none: no TMR_STS
  };
  explicit PowerManagement(const Options& options) : options_(options) {}

  std::string_view name() const override { return "pm"; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override EXCLUDES(mutex_);
  void Write(std::uint64_t offset, std::span<const std::byte> data) override EXCLUDES(mutex_);

  // Any thread. A press that the guest has not seen yet takes the next one in.
  void PressPowerButton() EXCLUDES(mutex_);
  void PressSleepButton() EXCLUDES(mutex_);  // nothing happens if there is none
  // As after power-on.
  void Reset() EXCLUDES(mutex_);

 private:
  std::uint16_t StatusLocked() const REQUIRES(mutex_);
  std::uint8_t ReadByteLocked(std::uint64_t offset) const REQUIRES(mutex_);
  void WriteByteLocked(std::uint64_t offset, std::uint8_t value) REQUIRES(mutex_);
  void ClearStatusLocked(std::uint16_t bits) REQUIRES(mutex_);
  void PressLocked(std::uint16_t button) REQUIRES(mutex_);
  void UpdateSciLocked() REQUIRES(mutex_);

  const Options options_;
  Mutex mutex_;
  std::uint16_t status_ GUARDED_BY(mutex_) = 0;
  std::uint16_t enable_ GUARDED_BY(mutex_) = 0;
  std::uint16_t control_ GUARDED_BY(mutex_) = 0;
  bool sci_up_ GUARDED_BY(mutex_) = false;
};

}  // namespace gemel
