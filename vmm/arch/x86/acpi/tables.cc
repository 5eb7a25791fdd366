#include "vmm/arch/x86/acpi/tables.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <string_view>

#include "base/check.h"
#include "base/load_le.h"
#include "vmm/arch/x86/acpi/dsdt.h"
#include "vmm/arch/x86/layout.h"

namespace gemel::x86 {
namespace {

using aml::Bytes;

constexpr std::size_t kHeaderSize = 36;  // ACPI 6.4, 5.2.6
constexpr std::size_t kHeaderLength = 4;
constexpr std::size_t kHeaderChecksum = 9;
constexpr std::size_t kRsdpSize = 36;
constexpr std::string_view kOemId = "GEMEL ";
constexpr std::string_view kCreatorId = "GEML";
constexpr std::size_t kFacsAlign = 64;
constexpr std::size_t kTableAlign = 16;

template <class T>
void Append(Bytes& bytes, T value) {
  bytes.resize(bytes.size() + sizeof value);
  StoreLe(std::as_writable_bytes(std::span(bytes)), bytes.size() - sizeof value, value);
}

void PutText(Bytes& bytes, std::size_t at, std::string_view text) {
  std::ranges::copy(text, bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

template <class T>
void Put(Bytes& bytes, std::size_t at, T value) {
  StoreLe(std::as_writable_bytes(std::span(bytes)), at, value);
}

// Makes bytes[first, first + count) sum to 0 by the byte at `at`.
void Checksum(Bytes& bytes, std::size_t first, std::size_t count, std::size_t at) {
  bytes[at] = 0;
  std::uint8_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum = static_cast<std::uint8_t>(sum + bytes[first + i]);
  bytes[at] = static_cast<std::uint8_t>(-sum);
}

// A table of `size` bytes, zero behind its header; FinishTable when it has its content.
Bytes NewTable(AcpiMachine machine, std::string_view signature, std::uint8_t revision,
               std::size_t size = kHeaderSize) {
  Bytes table(size);
  PutText(table, 0, signature);
  table[8] = revision;
  PutText(table, 10, kOemId);
  PutText(table, 16, machine == AcpiMachine::kServer1 ? "SERVER-1" : "MICRO-1 ");
  Put(table, 24, std::uint32_t{1});  // OEM revision
  PutText(table, 28, kCreatorId);
  Put(table, 32, std::uint32_t{1});  // creator revision
  return table;
}

Bytes FinishTable(Bytes table) {
  Put(table, kHeaderLength, static_cast<std::uint32_t>(table.size()));
  Checksum(table, 0, table.size(), kHeaderChecksum);
  return table;
}

Bytes BuildDsdt(const AcpiConfig& config) {
  // Revision 2: integers of 64 bits.
  return FinishTable(aml::Join({NewTable(config.machine, "DSDT", 2), BuildDsdtTerms(config)}));
}

// ACPI 6.4, 5.2.10. No waking vector: there is no sleep to wake from.
Bytes BuildFacs() {
  Bytes facs(64);
  PutText(facs, 0, "FACS");
  Put(facs, 4, std::uint32_t{64});
  facs[32] = 2;  // version
  return facs;
}

// A generic address (5.2.3.2) of a port.
void PutPort(Bytes& table, std::size_t at, std::uint16_t port, std::uint8_t bits) {
  constexpr std::uint8_t kSystemIo = 1;
  table[at] = kSystemIo;
  table[at + 1] = bits;
  table[at + 3] = static_cast<std::uint8_t>(bits / 8);  // access size: 1 byte, 2 word
  Put(table, at + 4, std::uint64_t{port});
}

// ACPI 6.4, 5.2.9. Offsets are the specification's.
constexpr std::uint32_t kNoSleepButton = 1 << 5;  // not in fixed hardware, nor anywhere else

// What both machines have.
Bytes BuildCommonFadt(AcpiMachine machine, std::uint64_t facs, std::uint64_t dsdt,
                      std::uint32_t more_flags) {
  constexpr std::uint8_t kResetValue = 6;  // vmm/devices/reset_port.h
  constexpr std::uint8_t kCenturyIndex = 0x32;
  constexpr std::uint16_t kNoC2 = 101;   // P_LVL2_LAT above 100 and
  constexpr std::uint16_t kNoC3 = 1001;  // P_LVL3_LAT above 1000: not supported
  // 8042 absent: Linux then does not probe for it, which saves boot time; reset by it works still.
  constexpr std::uint16_t kLegacyDevices = 1 << 0;
  constexpr std::uint16_t kVgaNotPresent = 1 << 2;
  constexpr std::uint32_t kWbinvd = 1 << 0;
  constexpr std::uint32_t kProcC1 = 1 << 2;
  constexpr std::uint32_t kNoFixedRtc = 1 << 6;
  constexpr std::uint32_t kResetRegister = 1 << 10;
  Bytes fadt = NewTable(machine, "FACP", 6, 276);
  Put(fadt, 36, static_cast<std::uint32_t>(facs));
  Put(fadt, 40, static_cast<std::uint32_t>(dsdt));
  fadt[45] = 4;  // preferred profile: enterprise server
  Put(fadt, 46, static_cast<std::uint16_t>(kIrqSci));
  Put(fadt, 56, std::uint32_t{kPortPm});      // PM1a_EVT_BLK
  Put(fadt, 64, std::uint32_t{kPortPm + 4});  // PM1a_CNT_BLK
  fadt[88] = 4;                               // PM1_EVT_LEN
  fadt[89] = 2;                               // PM1_CNT_LEN
  Put(fadt, 96, kNoC2);
  Put(fadt, 98, kNoC3);
  fadt[108] = kCenturyIndex;
  Put(fadt, 109, static_cast<std::uint16_t>(kLegacyDevices | kVgaNotPresent));
  Put(fadt, 112, kWbinvd | kProcC1 | kNoFixedRtc | kResetRegister | more_flags);
  PutPort(fadt, 116, kPortReset, 8);
  fadt[128] = kResetValue;
  fadt[131] = 4;  // minor version: 6.4
  Put(fadt, 140, dsdt);
  PutPort(fadt, 148, kPortPm, 32);
  fadt[148 + 3] = 2;  // the event block is two words
  PutPort(fadt, 172, kPortPm + 4, 16);
  PutText(fadt, 268, "GEMEL");  // hypervisor vendor identity
  return fadt;
}

Bytes BuildFadt(AcpiMachine machine, std::uint64_t facs, std::uint64_t dsdt) {
  if (machine == AcpiMachine::kMicro1)
    return FinishTable(BuildCommonFadt(machine, facs, dsdt, kNoSleepButton));
  // As vmm/devices/ich9_pm.h has it.
  constexpr std::uint16_t kTimer = kPortPm + 0x08;
  constexpr std::uint16_t kGpe0 = kPortPm + 0x20;
  constexpr std::uint8_t kGpe0Bytes = 16;
  constexpr std::uint8_t kByteAccess = 1;
  Bytes fadt = BuildCommonFadt(machine, facs, dsdt, 0);
  Put(fadt, 76, std::uint32_t{kTimer});  // PM_TMR_BLK
  Put(fadt, 80, std::uint32_t{kGpe0});   // GPE0_BLK
  fadt[91] = 4;                          // PM_TMR_LEN
  fadt[92] = kGpe0Bytes;
  PutPort(fadt, 208, kTimer, 32);
  fadt[208 + 3] = 3;  // read as a dword
  PutPort(fadt, 220, kGpe0, kGpe0Bytes * 8);
  fadt[220 + 3] = kByteAccess;
  return FinishTable(std::move(fadt));
}

// PCI Firmware 3.2, 4.1.2: configuration space as memory.
Bytes BuildMcfg() {
  constexpr std::uint8_t kLastBus = kEcamSize / (1 << 20) - 1;
  Bytes mcfg = NewTable(AcpiMachine::kServer1, "MCFG", 1, kHeaderSize + 8);
  Append(mcfg, std::uint64_t{kEcam});
  Append(mcfg, std::uint16_t{0});  // segment group
  mcfg.insert(mcfg.end(), {0, kLastBus});
  Append(mcfg, std::uint32_t{0});
  return FinishTable(std::move(mcfg));
}

void AppendCpu(Bytes& madt, std::uint32_t cpu) {
  constexpr std::uint32_t kEnabled = 1;
  if (cpu < 255) {
    madt.insert(madt.end(), {0, 8, static_cast<std::uint8_t>(cpu), static_cast<std::uint8_t>(cpu)});
    Append(madt, kEnabled);
    return;
  }
  madt.insert(madt.end(), {9, 16, 0, 0});  // local x2APIC (5.2.12.12)
  Append(madt, cpu);
  Append(madt, kEnabled);
  Append(madt, cpu);
}

void AppendOverride(Bytes& madt, std::uint8_t irq, std::uint32_t gsi, std::uint16_t flags) {
  madt.insert(madt.end(), {2, 10, 0, irq});
  Append(madt, gsi);
  Append(madt, flags);
}

// ACPI 6.4, 5.2.12.
Bytes BuildMadt(const AcpiConfig& config) {
  constexpr std::uint32_t kPcAtCompatible = 1;  // there are 8259s
  constexpr std::uint16_t kConforms = 0;
  constexpr std::uint16_t kHighLevel = 0x000d;
  Bytes madt = NewTable(config.machine, "APIC", 5);
  Append(madt, static_cast<std::uint32_t>(kLocalApic));
  Append(madt, kPcAtCompatible);
  for (std::uint32_t cpu = 0; cpu < config.cpus; ++cpu) AppendCpu(madt, cpu);
  // The IOAPIC's id must not be a CPU's; beyond 8 bits ids are not compared.
  madt.insert(madt.end(), {1, 12, static_cast<std::uint8_t>(config.cpus), 0});
  Append(madt, static_cast<std::uint32_t>(kIoApic));
  Append(madt, std::uint32_t{0});  // its first GSI
  AppendOverride(madt, 0, 2, kConforms);
  AppendOverride(madt, static_cast<std::uint8_t>(kIrqSci), kIrqSci, kHighLevel);
  madt.insert(madt.end(), {4, 6, 0xff, 0, 0, 1});  // NMI: LINT1 of every CPU
  return FinishTable(std::move(madt));
}

Bytes BuildXsdt(AcpiMachine machine, const std::vector<std::uint64_t>& tables) {
  Bytes xsdt = NewTable(machine, "XSDT", 1);
  for (const std::uint64_t table : tables) Append(xsdt, table);
  return FinishTable(std::move(xsdt));
}

// ACPI 6.4, 5.2.5.3.
Bytes BuildRsdp(std::uint64_t xsdt) {
  Bytes rsdp(kRsdpSize);
  PutText(rsdp, 0, "RSD PTR ");
  PutText(rsdp, 9, kOemId);
  rsdp[15] = 2;  // revision; the RSDT of revision 1 is not there
  Put(rsdp, 20, static_cast<std::uint32_t>(kRsdpSize));
  Put(rsdp, 24, xsdt);
  Checksum(rsdp, 0, 20, 8);
  Checksum(rsdp, 0, kRsdpSize, 32);
  return rsdp;
}

class Area {
 public:
  explicit Area(std::uint64_t base) : base_(base) { result_.bytes.resize(kRsdpSize); }

  // Appends the table and returns its guest address.
  std::uint64_t Add(const Bytes& table, std::size_t align = kTableAlign) {
    const std::size_t offset = (result_.bytes.size() + align - 1) / align * align;
    result_.bytes.resize(offset);
    aml::Append(result_.bytes, table);
    result_.tables.push_back({std::string(table.begin(), table.begin() + 4), offset, table.size()});
    return base_ + offset;
  }
  AcpiTables Finish(std::uint64_t xsdt) {
    std::ranges::copy(BuildRsdp(xsdt), result_.bytes.begin());
    return std::move(result_);
  }

 private:
  const std::uint64_t base_;
  AcpiTables result_;
};

}  // namespace

Result<AcpiTables> BuildAcpiTables(const AcpiConfig& config, std::uint64_t base) {
  if (config.mmio_devices > std::size(kMmioIrqs))
    return InvalidArgument("{} devices: the machine has places for {}", config.mmio_devices,
                           std::size(kMmioIrqs));
  Area area(base);
  const std::uint64_t facs = area.Add(BuildFacs(), kFacsAlign);
  const std::uint64_t dsdt = area.Add(BuildDsdt(config));
  std::vector<std::uint64_t> listed = {area.Add(BuildFadt(config.machine, facs, dsdt))};
  listed.push_back(area.Add(BuildMadt(config)));
  if (config.machine == AcpiMachine::kServer1) listed.push_back(area.Add(BuildMcfg()));
  const std::uint64_t xsdt = area.Add(BuildXsdt(config.machine, listed));
  AcpiTables tables = area.Finish(xsdt);
  if (tables.bytes.size() > kAcpiTablesEnd - kAcpiTables)
    return InvalidArgument("{} CPUs: their ACPI tables of {} bytes do not fit", config.cpus,
                           tables.bytes.size());
  return tables;
}

Result<GuestAddress> WriteAcpiTables(const GuestMemory& memory, const AcpiConfig& config) {
  ASSIGN_OR_RETURN(const AcpiTables tables, BuildAcpiTables(config, kAcpiTables));
  const GuestAddress at{kAcpiTables};
  if (!memory.WriteBytes(at, std::as_bytes(std::span(tables.bytes))))
    return InvalidArgument("memory: no RAM at {:#x} for the ACPI tables", at.value);
  return at;
}

}  // namespace gemel::x86
