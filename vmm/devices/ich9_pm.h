// The 128 ports at PMBASE of an ICH9 (data sheet, 13.8.3): ACPI's fixed hardware as the server
// machine has it.
//
//   +0x00 PM1 event and control registers (pm.h)    +0x08 PM1_TMR (pm_timer.h)
//   +0x20 GPE0_STS, +0x28 GPE0_EN (8 bytes each)
//
// Nothing raises a general-purpose event yet: the status bits are 0, the enable bits are kept. All
// other registers (SMI, TCO, …) read 0 and take nothing: there is no system management mode.
#pragma once
#include <array>
#include <cstdint>

#include "base/mutex.h"
#include "vmm/bus/io_handler.h"
#include "vmm/devices/pm.h"

namespace gemel {

class Ich9Pm final : public IoHandler {
 public:
  static constexpr std::uint64_t kPorts = 128;
  // Where the FADT says they are.
  static constexpr std::uint64_t kTimer = 0x08;
  static constexpr std::uint64_t kGpe0 = 0x20;
  static constexpr std::uint64_t kGpe0Size = 16;

  // What `options.timer` says is replaced by the timer in it; `clock` outlives it.
  Ich9Pm(PowerManagement::Options options, const Clock* clock);

  std::string_view name() const override { return "ich9-pm"; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override;
  void Write(std::uint64_t offset, std::span<const std::byte> data) override EXCLUDES(mutex_);

  PowerManagement& pm1() { return pm1_; }
  // As after power-on.
  void Reset() EXCLUDES(mutex_);

 private:
  std::uint8_t ReadByte(std::uint64_t offset) EXCLUDES(mutex_);

  PmTimer timer_;
  PowerManagement pm1_;
  Mutex mutex_;
  std::array<std::uint8_t, kGpe0Size / 2> gpe0_enable_ GUARDED_BY(mutex_){};
};

}  // namespace gemel
