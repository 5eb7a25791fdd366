// INTx: the pins of PCI functions, joined to the eight lines PIRQ A to H of the chip set, and those
// to the interrupt controllers (ICH9 data sheet, 10.1 and 13.1).
//
//   function's pin ─┐
//                   ├─ OR ─ PIRQ x ─┬─ GSI 16 + x (an IOAPIC input of its own)
//   function's pin ─┘               └─ the ISA IRQ in PIRQx_ROUT, if the guest routed it (PIC mode)
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/mutex.h"
#include "vmm/bus/irq_lines.h"

namespace gemel::pci {

inline constexpr unsigned kPirqs = 8;
inline constexpr std::uint32_t kFirstPirqGsi = 16;

// The line that pin `pin` (0: INTA# to 3: INTD#) of a device on bus 0 is joined to: devices 0 to 24
// turn over E to H, devices 25 to 31 use A to D (the reset values of the DxxIR registers). The DSDT
// says the same.
constexpr unsigned PirqOf(unsigned device, unsigned pin) {
  return device < 25 ? 4 + (device + pin) % 4 : pin % 4;
}
constexpr std::uint32_t IntxGsi(unsigned device, unsigned pin) {
  return kFirstPirqGsi + PirqOf(device, pin);
}

// Any thread.
class IntxRouter {
 public:
  using Source = std::size_t;
  static constexpr std::uint8_t kRouteDisabled = 0x80;  // in PIRQx_ROUT

  // `lines` outlives it.
  explicit IntxRouter(IrqLines* lines) : lines_(lines) { routes_.fill(kRouteDisabled); }

  // A pin on this PIRQ, not asserted and enabled. There is no way to take one away.
  Source AddSource(unsigned pirq) EXCLUDES(mutex_);
  // Whether the function wants an interrupt.
  void SetAsserted(Source source, bool asserted) EXCLUDES(mutex_);
  bool asserted(Source source) const EXCLUDES(mutex_);
  // The command register's INTx Disable bit.
  void SetDisabled(Source source, bool disabled) EXCLUDES(mutex_);
  // PIRQx_ROUT: bit 7 disables, bits 3:0 are the ISA IRQ; 0, 1, 2, 8 and 13 are reserved.
  void SetRoute(unsigned pirq, std::uint8_t route) EXCLUDES(mutex_);

 private:
  struct Pin {
    unsigned pirq;
    bool asserted = false;
    bool disabled = false;
  };
  // Tells the controllers about each line that changed.
  void UpdateLocked() REQUIRES(mutex_);

  IrqLines* const lines_;
  mutable Mutex mutex_;
  std::vector<Pin> pins_ GUARDED_BY(mutex_);
  std::array<std::uint8_t, kPirqs> routes_ GUARDED_BY(mutex_);
  std::uint32_t levels_ GUARDED_BY(mutex_) = 0;  // bit n: GSI n is held up
};

}  // namespace gemel::pci
