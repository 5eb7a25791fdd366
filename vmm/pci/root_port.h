// A PCI Express root port with a hot-pluggable slot, in which there is nothing (PCIe 6.1, 7.5.1.3
// and 7.5.3; PCI-to-PCI Bridge 1.2).
//
// Its windows, bus numbers and slot registers are kept as they are written, and lead nowhere: all
// buses behind it are empty (see Root). It shows all that hot plug will need, so that a guest sees
// no other machine then: attention button, indicators, power controller, presence, MSI. No event
// ever comes yet, so that neither MSI nor pin is ever used; the power controller obeys at once
// (No Command Completed).
#pragma once
#include "vmm/pci/pci_function.h"

namespace gemel::pci {

class RootPort final : public Function {
 public:
  // Number 0 to 7: function of its device, and one less than the slot's number.
  explicit RootPort(unsigned number);

 private:
  void DefineBridge();
  void DefineMsi();
  void DefineExpress(unsigned number);
  void DefineSlot(std::size_t express, unsigned number);
};

}  // namespace gemel::pci
