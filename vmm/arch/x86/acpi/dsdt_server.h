// What the server machine's definition block has beside the processors: the PCI bus with all that
// hangs on it, the panic device, and resources that belong to no device.
#pragma once
#include <cstdint>

#include "vmm/arch/x86/acpi/aml.h"

namespace gemel::x86 {

// \_SB.PCI0 (PNP0A08): the windows of layout.h, the routing of INTx, _OSC, and the LPC bridge with
// `isa` on it.
aml::Bytes PciBus(std::uint64_t memory64, const aml::Bytes& isa);
// QEMU0001, which Linux's pvpanic driver knows.
aml::Bytes PanicDevice();
// PNP0C02: what no driver may take. Linux uses the ECAM only if it is named here.
aml::Bytes BoardResources();

}  // namespace gemel::x86
