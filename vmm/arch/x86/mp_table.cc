#include "vmm/arch/x86/mp_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <string_view>

#include "base/check.h"
#include "base/load_le.h"
#include "vmm/arch/x86/layout.h"

namespace gemel::x86 {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kPointerSize = 16;  // MP 1.4, 4.1
constexpr std::size_t kHeaderSize = 44;   // 4.2
constexpr std::uint8_t kSpecRevision = 4;
constexpr std::uint8_t kApicVersion = 0x14;
constexpr std::uint8_t kIsaBus = 0;
// Where chapter 4 lets the configuration table be: 1 KiB of EBDA is too small for 64 CPUs.
constexpr std::uint64_t kBiosRom = 0xf0000;
constexpr std::uint64_t kBiosRomEnd = 0x100000;

// Entry types (4.3).
enum EntryType : std::uint8_t {
  kProcessor = 0,
  kBus = 1,
  kIoApicEntry = 2,
  kIoInt = 3,
  kLocalInt = 4
};
// Interrupt types (table 4-11).
enum InterruptType : std::uint8_t { kInt = 0, kNmi = 1, kExtInt = 3 };
// Polarity and trigger mode (table 4-10).
constexpr std::uint16_t kConforms = 0;
constexpr std::uint16_t kHighEdge = 1 | 1 << 2;
constexpr std::uint8_t kAllLocalApics = 0xff;

template <class T>
void Append(Bytes& bytes, T value) {
  bytes.resize(bytes.size() + sizeof value);
  StoreLe(std::as_writable_bytes(std::span(bytes)), bytes.size() - sizeof value, value);
}

template <class T>
void Put(Bytes& bytes, std::size_t at, T value) {
  StoreLe(std::as_writable_bytes(std::span(bytes)), at, value);
}

void AppendText(Bytes& bytes, std::string_view text) {
  // One by one: g++ 12 sees an overflow in a range's insert (-Wstringop-overflow).
  for (const char letter : text) bytes.push_back(static_cast<std::uint8_t>(letter));
}

std::uint8_t NegatedSum(std::span<const std::uint8_t> bytes) {
  std::uint8_t sum = 0;
  for (const std::uint8_t byte : bytes) sum = static_cast<std::uint8_t>(sum + byte);
  return static_cast<std::uint8_t>(-sum);
}

void AppendProcessor(Bytes& table, std::uint32_t cpu) {
  constexpr std::uint8_t kEnabled = 1;
  constexpr std::uint8_t kBootstrap = 2;
  constexpr std::uint32_t kSignature = 0x600;      // family 6: CPUID tells the truth
  constexpr std::uint32_t kFeatures = 1 << 9 | 1;  // APIC, FPU
  table.insert(table.end(), {kProcessor, static_cast<std::uint8_t>(cpu), kApicVersion,
                             static_cast<std::uint8_t>(kEnabled | (cpu == 0 ? kBootstrap : 0))});
  Append(table, kSignature);
  Append(table, kFeatures);
  Append(table, std::uint64_t{0});
}

struct Assignment {
  EntryType entry;
  InterruptType type;
  std::uint16_t flags;
  std::uint8_t source;  // ISA interrupt
  std::uint8_t apic;
  std::uint8_t pin;
};

void AppendAssignment(Bytes& table, const Assignment& a) {
  table.insert(table.end(), {a.entry, a.type});
  Append(table, a.flags);
  table.insert(table.end(), {kIsaBus, a.source, a.apic, a.pin});
}

// Pins 0-15 are ISA's, but that the PIT is on pin 2; from 16 on each pin is a source of its own,
// which the specification has no bus for: ISA, but active-high and edge said outright.
void AppendInterrupts(Bytes& table, std::uint8_t io_apic, std::uint16_t* entries) {
  AppendAssignment(table, {kIoInt, kInt, kConforms, 0, io_apic, 2});
  ++*entries;
  for (std::uint8_t pin = 1; pin < kIoApicPins; ++pin) {
    if (pin == 2) continue;
    AppendAssignment(table, {kIoInt, kInt, pin < 16 ? kConforms : kHighEdge, pin, io_apic, pin});
    ++*entries;
  }
  AppendAssignment(table, {kLocalInt, kExtInt, kConforms, 0, kAllLocalApics, 0});
  AppendAssignment(table, {kLocalInt, kNmi, kConforms, 0, kAllLocalApics, 1});
  *entries = static_cast<std::uint16_t>(*entries + 2);
}

Bytes BuildConfigurationTable(std::uint32_t cpus) {
  constexpr std::uint8_t kUsable = 1;
  Bytes table(kHeaderSize);
  std::uint16_t entries = 0;
  for (std::uint32_t cpu = 0; cpu < cpus; ++cpu, ++entries) AppendProcessor(table, cpu);
  table.insert(table.end(), {kBus, kIsaBus});
  AppendText(table, "ISA   ");
  const auto io_apic = static_cast<std::uint8_t>(cpus);  // no CPU's id
  table.insert(table.end(), {kIoApicEntry, io_apic, kApicVersion, kUsable});
  Append(table, static_cast<std::uint32_t>(kIoApic));
  entries = static_cast<std::uint16_t>(entries + 2);
  AppendInterrupts(table, io_apic, &entries);

  Bytes header;
  AppendText(header, "PCMP");
  Append(header, static_cast<std::uint16_t>(table.size()));
  header.insert(header.end(), {kSpecRevision, 0});
  AppendText(header, "GEMEL   MICRO-1     ");
  Append(header, std::uint32_t{0});  // no OEM table
  Append(header, std::uint16_t{0});
  Append(header, entries);
  Append(header, static_cast<std::uint32_t>(kLocalApic));
  Append(header, std::uint32_t{0});  // no extended table
  CHECK(header.size() == kHeaderSize);
  std::ranges::copy(header, table.begin());
  table[7] = NegatedSum(table);
  return table;
}

}  // namespace

MpTable BuildMpTable(std::uint32_t cpus) {
  MpTable table;
  AppendText(table.pointer, "_MP_");
  Append(table.pointer, static_cast<std::uint32_t>(kBiosRom));
  table.pointer.insert(table.pointer.end(), {kPointerSize / 16, kSpecRevision, 0});
  // No default configuration, virtual wire mode (no IMCR).
  table.pointer.resize(kPointerSize);
  table.pointer[10] = NegatedSum(table.pointer);
  table.configuration = BuildConfigurationTable(cpus);
  return table;
}

Status WriteMpTable(const GuestMemory& memory, std::uint32_t cpus) {
  constexpr std::uint32_t kMaxApicId = 254;  // 8 bits, less the broadcast
  if (cpus > kMaxApicId)
    return InvalidArgument("cpus: {}: an MP table holds at most {}; leave acpi on", cpus,
                           kMaxApicId);
  const MpTable table = BuildMpTable(cpus);
  CHECK(table.configuration.size() <= kBiosRomEnd - kBiosRom);
  if (!memory.WriteBytes(GuestAddress{kBiosRom}, std::as_bytes(std::span(table.configuration))) ||
      !memory.WriteBytes(GuestAddress{kEbda}, std::as_bytes(std::span(table.pointer))))
    return InvalidArgument("memory: no RAM below 1 MiB for the MP table");
  return {};
}

std::string MmioCmdlineWords(std::uint32_t devices) {
  CHECK(devices <= std::size(kMmioIrqs));
  std::string words;
  for (std::uint32_t device = 0; device < devices; ++device) {
    words += fmt::format("{}virtio_mmio.device=4K@{:#x}:{}", device == 0 ? "" : " ",
                         kMmioDevices + device * kMmioDeviceSize, kMmioIrqs[device]);
  }
  return words;
}

}  // namespace gemel::x86
