// What takes ACPI's place with acpi=off: the tables of Intel's MultiProcessor Specification 1.4 and
// the kernel words for the virtio-mmio devices.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::x86 {

struct MpTable {
  std::vector<std::uint8_t> pointer;        // the floating pointer, for the EBDA
  std::vector<std::uint8_t> configuration;  // for 0xf0000, in the BIOS area
};

// Pure. CPU n has APIC id n, the IOAPIC the id `cpus`.
MpTable BuildMpTable(std::uint32_t cpus);

// Writes them where chapter 4 says. kInvalidArgument for more CPUs than 8-bit APIC ids name.
// REQUIRES: no vCPU runs.
Status WriteMpTable(const GuestMemory& memory, std::uint32_t cpus);

// "virtio_mmio.device=4K@0xd0000000:16 virtio_mmio.device=…", for Linux with
// CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES. Empty for none.
std::string MmioCmdlineWords(std::uint32_t devices);

}  // namespace gemel::x86
