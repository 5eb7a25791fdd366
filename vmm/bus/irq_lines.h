// The level-triggered inputs of the interrupt controllers, as wires that somebody holds up.
#pragma once
#include <cstdint>

namespace gemel {

// Implemented by vmm/kvm (KVM_IRQ_LINE); a fake remembers the levels.
class IrqLines {
 public:
  virtual ~IrqLines() = default;
  // Holds the line of this GSI up, or lets go of it. Who shares a line combines the levels before
  // (for PCI's INTx vmm/pci/intx.h does). Any thread; takes effect before it returns.
  virtual void SetLevel(std::uint32_t gsi, bool asserted) = 0;
};

}  // namespace gemel
