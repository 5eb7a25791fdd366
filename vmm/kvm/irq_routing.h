// Which input of which interrupt controller each GSI reaches, as data.
//
// GSIs 0 to 23 are the lines of the machine (layout.h); message-signalled interrupts (PCI's MSI-X)
// have GSIs from kFirstMsiGsi on.
#pragma once
#include <cstdint>
#include <vector>

namespace gemel::kvm {

inline constexpr std::uint32_t kFirstMsiGsi = 24;

struct IrqRoute {
  enum class Target : std::uint8_t { kMasterPic, kSlavePic, kIoApic, kMessage };
  std::uint32_t gsi = 0;
  Target target = Target::kIoApic;
  std::uint32_t pin = 0;      // all but kMessage
  std::uint64_t address = 0;  // kMessage
  std::uint32_t data = 0;     // kMessage
};

// The wiring of a PC: ISA IRQ n reaches pin n of the PICs and of the IOAPIC, but IRQ 0 (the PIT)
// reaches the IOAPIC at pin 2, as the MADT's interrupt source override says; IRQ 2 is the cascade
// of the PICs and reaches nothing.
std::vector<IrqRoute> PcIrqRoutes();

}  // namespace gemel::kvm
