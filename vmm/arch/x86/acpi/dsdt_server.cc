#include "vmm/arch/x86/acpi/dsdt_server.h"

#include <vector>

#include "vmm/arch/x86/layout.h"

namespace gemel::x86 {
namespace {

using aml::Bytes;

constexpr unsigned kDevices = 32;
constexpr unsigned kPins = 4;
constexpr std::uint32_t kLpcAddress = 0x001f0000;  // 00:1f.0

// ICH9's wiring, as vmm/pci/intx.h does it: devices 0 to 24 turn over PIRQ E to H, devices 25 to 31
// use A to D.
constexpr std::uint32_t GsiOf(unsigned device, unsigned pin) {
  return kFirstPirqGsi + (device < 25 ? 4 + (device + pin) % 4 : pin % 4);
}

// ACPI 6.4, 6.2.13: straight to IOAPIC inputs; there are no link devices.
Bytes InterruptRouting() {
  std::vector<Bytes> entries;
  for (unsigned device = 0; device < kDevices; ++device) {
    for (unsigned pin = 0; pin < kPins; ++pin) {
      entries.push_back(
          aml::Package({aml::Integer(std::uint64_t{device} << 16 | 0xffff), aml::Integer(pin),
                        aml::Integer(0), aml::Integer(GsiOf(device, pin))}));
    }
  }
  return aml::Name("_PRT", aml::Package(entries));
}

// Which PCI Express features the operating system may have for itself (PCI Firmware 3.2, 4.5.1):
// hot plug, PME, advanced errors, the capability; not SHPC hot plug, which there is not.
Bytes OscMethod() {
  constexpr std::uint64_t kGranted = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4;
  constexpr std::uint64_t kUnknownUuid = 1 << 2, kUnknownRevision = 1 << 3, kMasked = 1 << 4;
  const Bytes status = aml::Path("CDW1"), control = aml::Path("CDW3");
  const Bytes known = aml::Join({aml::CreateDWordField(aml::Arg(3), 8, "CDW3"),
                                 aml::And(control, aml::Integer(kGranted), aml::Local(0)),
                                 aml::If(aml::NotEqual(aml::Arg(1), aml::Integer(1)),
                                         aml::Or(status, aml::Integer(kUnknownRevision), status)),
                                 aml::If(aml::NotEqual(control, aml::Local(0)),
                                         aml::Or(status, aml::Integer(kMasked), status)),
                                 aml::Store(aml::Local(0), control)});
  const Bytes uuid = aml::UuidBuffer("33DB4D5B-1FF7-401C-9657-7441C03DD766");
  return aml::Method("_OSC", 4,
                     aml::Join({aml::CreateDWordField(aml::Arg(3), 0, "CDW1"),
                                aml::If(aml::Equal(aml::Arg(0), uuid), known),
                                aml::Else(aml::Or(status, aml::Integer(kUnknownUuid), status)),
                                aml::Return(aml::Arg(3))}));
}

Bytes Windows(std::uint64_t memory64) {
  constexpr std::uint16_t kConfigPorts = 0xcf8;
  constexpr std::uint16_t kConfigPortsEnd = 0xd00;
  return aml::ResourceTemplate(
      aml::Join({aml::BusNumbers(0, 256), aml::Io(kConfigPorts, 8), aml::IoWindow(0, kConfigPorts),
                 aml::IoWindow(kConfigPortsEnd, 0x10000 - kConfigPortsEnd),
                 aml::MemoryWindow32(kPciMemoryLow, kPciMemoryLowSize),
                 aml::MemoryWindow32(kPciMemory, kPciMemorySize),
                 aml::MemoryWindow64(memory64, kPciMemory64Size)}));
}

}  // namespace

Bytes PciBus(std::uint64_t memory64, const Bytes& isa) {
  const Bytes lpc =
      aml::Device("ISA_", aml::Join({aml::Name("_ADR", aml::Integer(kLpcAddress)), isa}));
  return aml::Device(
      "PCI0",
      aml::Join({aml::Name("_HID", aml::EisaId("PNP0A08")),
                 aml::Name("_CID", aml::EisaId("PNP0A03")), aml::Name("_UID", aml::Integer(0)),
                 aml::Name("_SEG", aml::Integer(0)), aml::Name("_BBN", aml::Integer(0)),
                 aml::Name("_CCA", aml::Integer(1)), aml::Name("_CRS", Windows(memory64)),
                 InterruptRouting(), OscMethod(), lpc}));
}

Bytes PanicDevice() {
  return aml::Device(
      "PEVT",
      aml::Join({aml::Name("_HID", aml::String("QEMU0001")), aml::Name("_STA", aml::Integer(0xf)),
                 aml::Name("_CRS", aml::ResourceTemplate(aml::Io(kPortPvPanic, 1)))}));
}

Bytes BoardResources() {
  constexpr std::uint8_t kPmPorts = 128;
  const Bytes resources = aml::Join({aml::Memory32Fixed(kEcam, kEcamSize),
                                     aml::Io(kPortPm, kPmPorts), aml::Io(kPortFwCfg, kFwCfgPorts)});
  return aml::Device("MBRD", aml::Join({aml::Name("_HID", aml::EisaId("PNP0C02")),
                                        aml::Name("_UID", aml::Integer(0)),
                                        aml::Name("_CRS", aml::ResourceTemplate(resources))}));
}

}  // namespace gemel::x86
