// ACPI tables of machine types micro-1 and server-1 (ACPI 6.4): RSDP, XSDT, FADT, FACS, MADT, DSDT,
// and for the server MCFG. Guest ABI: the bytes for a given configuration never change; golden files
// hold them.
//
// Neither machine is hardware-reduced: PM1 blocks (vmm/devices/pm.h), SCI, fixed power button,
// reset register; no sleep states but S5. The server has a PM timer, a GPE block in which nothing
// happens yet, and a fixed sleep button (vmm/devices/ich9_pm.h).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::x86 {

enum class AcpiMachine : std::uint8_t { kMicro1, kServer1 };

struct AcpiConfig {
  std::uint32_t cpus = 1;          // APIC id n is CPU n
  std::uint32_t mmio_devices = 0;  // micro: the first so many of layout.h's places
  AcpiMachine machine = AcpiMachine::kMicro1;
  std::uint64_t pci_memory64 = 0;  // server: where that window begins (memory_map.h)
};

struct AcpiTables {
  struct Table {
    std::string signature;
    std::size_t offset = 0;
    std::size_t size = 0;
  };
  std::vector<std::uint8_t> bytes;  // for guest address `base`; RSDP first
  std::vector<Table> tables;        // all but the RSDP
};

// Pure. kInvalidArgument if there are more devices than places or the tables outgrow their area.
Result<AcpiTables> BuildAcpiTables(const AcpiConfig& config, std::uint64_t base);

// Writes the tables to kAcpiTables and returns the RSDP's address. REQUIRES: no vCPU runs.
Result<GuestAddress> WriteAcpiTables(const GuestMemory& memory, const AcpiConfig& config);

}  // namespace gemel::x86
