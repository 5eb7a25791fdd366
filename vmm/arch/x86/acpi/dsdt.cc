#include "vmm/arch/x86/acpi/dsdt.h"

#include <fmt/format.h>

#include "vmm/arch/x86/acpi/dsdt_server.h"
#include "vmm/arch/x86/layout.h"

namespace gemel::x86 {
namespace {

using aml::Bytes;

// ACPI 6.4, 8.4: matched with the MADT by _UID.
Bytes Processor(std::uint32_t cpu) {
  return aml::Device(fmt::format("C{:03X}", cpu),
                     aml::Join({aml::Name("_HID", aml::String("ACPI0007")),
                                aml::Name("_UID", aml::Integer(cpu))}));
}

// The id that Linux's virtio_mmio driver knows (drivers/virtio/virtio_mmio.c).
Bytes VirtioMmio(std::uint32_t device) {
  const auto base = static_cast<std::uint32_t>(kMmioDevices + device * kMmioDeviceSize);
  const Bytes registers = aml::Memory32Fixed(base, static_cast<std::uint32_t>(kMmioDeviceSize));
  const Bytes interrupt = aml::EdgeInterrupt(kMmioIrqs[device]);
  return aml::Device(
      fmt::format("VR{:02X}", device),
      aml::Join({aml::Name("_HID", aml::String("LNRO0005")),
                 aml::Name("_UID", aml::Integer(device)), aml::Name("_CCA", aml::Integer(1)),
                 aml::Name("_CRS", aml::ResourceTemplate(aml::Join({registers, interrupt})))}));
}

Bytes Com1() {
  const Bytes resources = aml::Join({aml::Io(kPortSerial, 8), aml::IrqNoFlags(kIrqSerial)});
  return aml::Device("COM1", aml::Join({aml::Name("_HID", aml::EisaId("PNP0501")),
                                        aml::Name("_UID", aml::Integer(1)),
                                        aml::Name("_CRS", aml::ResourceTemplate(resources))}));
}

Bytes Rtc() {
  const Bytes resources = aml::Join({aml::Io(kPortCmos, 2), aml::IrqNoFlags(kIrqRtc)});
  return aml::Device("RTC_", aml::Join({aml::Name("_HID", aml::EisaId("PNP0B00")),
                                        aml::Name("_CRS", aml::ResourceTemplate(resources))}));
}

Bytes S5(std::uint8_t sleep_type) {
  return aml::Name("\\_S5_", aml::Package({aml::Integer(sleep_type), aml::Integer(0),
                                           aml::Integer(0), aml::Integer(0)}));
}

}  // namespace

Bytes BuildDsdtTerms(const AcpiConfig& config) {
  Bytes bus;
  for (std::uint32_t cpu = 0; cpu < config.cpus; ++cpu) aml::Append(bus, Processor(cpu));
  if (config.machine == AcpiMachine::kServer1) {
    aml::Append(bus, PciBus(config.pci_memory64, aml::Join({Com1(), Rtc()})));
    aml::Append(bus, PanicDevice());
    aml::Append(bus, BoardResources());
    return aml::Join({aml::Scope("\\_SB_", bus), S5(kServerSleepTypeS5)});
  }
  for (std::uint32_t device = 0; device < config.mmio_devices; ++device)
    aml::Append(bus, VirtioMmio(device));
  aml::Append(bus, Com1());
  aml::Append(bus, Rtc());
  return aml::Join({aml::Scope("\\_SB_", bus), S5(kMicroSleepTypeS5)});
}

}  // namespace gemel::x86
