#include "vmm/arch/x86/smbios.h"

#include <algorithm>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "base/load_le.h"
#include "vmm/arch/x86/layout.h"

namespace gemel::x86 {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kEntryPoint = 32;  // 24 bytes are used
constexpr std::uint64_t kMiB = 1 << 20;
// Handles: any numbers, each once.
constexpr std::uint16_t kBiosHandle = 0, kSystemHandle = 0x100, kChassisHandle = 0x300,
                        kProcessorHandle = 0x400, kArrayHandle = 0x1000, kModuleHandle = 0x1100,
                        kMappedHandle = 0x1300, kBootHandle = 0x2000, kEndHandle = 0x7f00;

// A structure: its formatted part by offsets of the specification, and its strings.
class Structure {
 public:
  Structure(std::uint8_t type, std::uint16_t handle, std::size_t length) : formatted_(length) {
    formatted_[0] = type;
    formatted_[1] = static_cast<std::uint8_t>(length);
    Put(2, handle);
  }

  template <class T>
  void Put(std::size_t at, T value) {
    StoreLe(std::as_writable_bytes(std::span(formatted_)), at, value);
  }
  void PutBytes(std::size_t at, std::span<const std::uint8_t> bytes) {
    std::ranges::copy(bytes, formatted_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  // 6.1.3: a string's number, or 0 for none.
  void PutText(std::size_t at, std::string_view text) {
    if (text.empty()) return;
    strings_.insert(strings_.end(), text.begin(), text.end());
    strings_.push_back(0);
    formatted_[at] = ++texts_;
  }
  void AppendTo(Bytes& table) const {
    table.insert(table.end(), formatted_.begin(), formatted_.end());
    table.insert(table.end(), strings_.begin(), strings_.end());
    // A set of strings ends with one more zero; an empty set is two.
    table.insert(table.end(), texts_ == 0 ? 2 : 1, 0);
  }

 private:
  Bytes formatted_;
  Bytes strings_;
  std::uint8_t texts_ = 0;
};

// 7.1. Not a version of Gemel's: guests that record it would see another machine after an update.
void AddBios(Bytes& table) {
  constexpr std::uint64_t kCharacteristicsNotSupported = 1 << 3;
  constexpr std::uint8_t kAcpi = 1 << 0;
  constexpr std::uint8_t kVirtualMachine = 1 << 4;
  Structure s(0, kBiosHandle, 26);
  s.PutText(4, "Gemel");
  s.PutText(5, "server-1");
  s.Put(6, std::uint16_t{0xe000});  // BIOS segment
  s.PutText(8, "01/01/2026");
  s.Put(10, kCharacteristicsNotSupported);
  s.Put(18, kAcpi);
  s.Put(19, kVirtualMachine);
  s.Put(20, std::uint8_t{1});        // release 1.0
  s.Put(22, std::uint16_t{0xffff});  // embedded controller: none
  s.AppendTo(table);
}

// 7.2.1: the first three fields of the UUID are little-endian.
Uuid ToSmbios(const Uuid& uuid) {
  constexpr std::size_t kOrder[] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
  Uuid out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = uuid[kOrder[i]];
  return out;
}

void AddSystem(Bytes& table, const IdentityConfig& identity) {
  constexpr std::uint8_t kPowerSwitch = 6;
  Structure s(1, kSystemHandle, 27);
  s.PutText(4, "Gemel");
  s.PutText(5, identity.product.empty() ? "Virtual Machine" : identity.product);
  s.PutText(6, "server-1");
  s.PutText(7, identity.serial);
  s.PutBytes(8, ToSmbios(identity.uuid));
  s.Put(24, kPowerSwitch);
  s.AppendTo(table);
}

// 7.4.
void AddChassis(Bytes& table, const IdentityConfig& identity) {
  constexpr std::uint8_t kOther = 1;
  constexpr std::uint8_t kSafe = 3;
  constexpr std::uint8_t kNoSecurity = 3;
  Structure s(3, kChassisHandle, 22);
  s.PutText(4, "Gemel");
  s.Put(5, kOther);
  s.PutText(6, "server-1");
  s.PutText(8, identity.asset);
  s.Put(9, kSafe);
  s.Put(10, kSafe);
  s.Put(11, kSafe);
  s.Put(12, kNoSecurity);
  s.AppendTo(table);
}

// 7.5. Speed and model are the CPUID's to tell.
void AddProcessor(Bytes& table, std::uint32_t cpus) {
  constexpr std::uint8_t kCentral = 3, kOtherFamily = 1, kEnabled = 0x41, kOtherUpgrade = 1;
  constexpr std::uint16_t kNoCache = 0xffff;
  constexpr std::uint16_t k64Bit = 1 << 2, kMultiCore = 1 << 3;
  const auto few = static_cast<std::uint8_t>(std::min<std::uint32_t>(cpus, 255));
  const auto many = static_cast<std::uint16_t>(cpus);
  Structure s(4, kProcessorHandle, 48);
  s.PutText(4, "CPU 0");
  s.Put(5, kCentral);
  s.Put(6, kOtherFamily);
  s.PutText(7, "Gemel");
  s.Put(24, kEnabled);
  s.Put(25, kOtherUpgrade);
  s.Put(26, kNoCache);
  s.Put(28, kNoCache);
  s.Put(30, kNoCache);
  s.Put(35, few);  // cores, enabled ones, threads
  s.Put(36, few);
  s.Put(37, few);
  s.Put(38, static_cast<std::uint16_t>(k64Bit | (cpus > 1 ? kMultiCore : 0)));
  s.Put(40, std::uint16_t{1});
  s.Put(42, many);
  s.Put(44, many);
  s.Put(46, many);
  s.AppendTo(table);
}

std::uint64_t TotalOf(const std::vector<MemoryRange>& ram) {
  std::uint64_t total = 0;
  for (const MemoryRange& range : ram) total += range.size;
  return total;
}

// 7.17.
void AddMemoryArray(Bytes& table, std::uint64_t size) {
  constexpr std::uint8_t kOther = 1, kSystemMemory = 3, kMultiBitEcc = 6;
  constexpr std::uint32_t kExtended = 0x80000000;
  constexpr std::uint16_t kNoErrors = 0xfffe;
  Structure s(16, kArrayHandle, 23);
  s.Put(4, kOther);
  s.Put(5, kSystemMemory);
  s.Put(6, kMultiBitEcc);
  s.Put(7, kExtended);
  s.Put(11, kNoErrors);
  s.Put(13, std::uint16_t{1});
  s.Put(15, size);
  s.AppendTo(table);
}

// 7.18: one module.
void AddMemoryModule(Bytes& table, std::uint64_t size) {
  constexpr std::uint8_t kDimm = 9, kRam = 7;
  constexpr std::uint16_t kUnknown = 0xffff, kExtended = 0x7fff, kNoErrors = 0xfffe,
                          kOther = 1 << 1;
  const std::uint64_t mib = size / kMiB;
  Structure s(17, kModuleHandle, 40);
  s.Put(4, kArrayHandle);
  s.Put(6, kNoErrors);
  s.Put(8, kUnknown);
  s.Put(10, kUnknown);
  s.Put(12, mib < kExtended ? static_cast<std::uint16_t>(mib) : kExtended);
  s.Put(14, kDimm);
  s.PutText(16, "DIMM 0");
  s.Put(18, kRam);
  s.Put(19, kOther);
  s.PutText(23, "Gemel");
  s.Put(28, mib < kExtended ? 0 : static_cast<std::uint32_t>(mib));
  s.AppendTo(table);
}

// 7.20.
void AddMappedRange(Bytes& table, const MemoryRange& range, std::size_t index) {
  constexpr std::uint32_t kExtended = 0xffffffff;
  Structure s(19, static_cast<std::uint16_t>(kMappedHandle + index), 31);
  s.Put(4, kExtended);
  s.Put(8, kExtended);
  s.Put(12, kArrayHandle);
  s.Put(14, std::uint8_t{1});  // one module
  s.Put(15, range.start.value);
  s.Put(23, range.start.value + (range.size - 1));
  s.AppendTo(table);
}

Bytes BuildStructures(const SmbiosConfig& config) {
  Bytes table;
  AddBios(table);
  AddSystem(table, config.identity);
  AddChassis(table, config.identity);
  AddProcessor(table, config.cpus);
  const std::uint64_t size = TotalOf(config.ram);
  AddMemoryArray(table, size);
  AddMemoryModule(table, size);
  for (std::size_t i = 0; i < config.ram.size(); ++i) AddMappedRange(table, config.ram[i], i);
  Structure(32, kBootHandle, 11).AppendTo(table);  // 7.33: no errors detected
  Structure(127, kEndHandle, 4).AppendTo(table);
  return table;
}

}  // namespace

// 5.2.2: the 64-bit entry point.
Bytes BuildSmbios(const SmbiosConfig& config, std::uint64_t base) {
  constexpr std::string_view kAnchor = "_SM3_";
  constexpr std::uint8_t kLength = 24;
  const Bytes structures = BuildStructures(config);
  Bytes out(kEntryPoint);
  std::ranges::copy(kAnchor, out.begin());
  out[6] = kLength;
  out[7] = 3;  // version 3.6.0
  out[8] = 6;
  out[10] = 1;  // revision of the entry point
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(out));
  StoreLe(bytes, 12, static_cast<std::uint32_t>(structures.size()));
  StoreLe(bytes, 16, base + kEntryPoint);
  std::uint8_t sum = 0;
  for (std::size_t i = 0; i < kLength; ++i) sum = static_cast<std::uint8_t>(sum + out[i]);
  out[5] = static_cast<std::uint8_t>(-sum);
  out.insert(out.end(), structures.begin(), structures.end());
  return out;
}

Status WriteSmbios(const GuestMemory& memory, const SmbiosConfig& config) {
  const Bytes bytes = BuildSmbios(config, kSmbios);
  if (bytes.size() > kSmbiosEnd - kSmbios)
    return InvalidArgument("smbios: {} bytes: more than fit", bytes.size());
  if (!memory.WriteBytes(GuestAddress{kSmbios}, std::as_bytes(std::span(bytes))))
    return InvalidArgument("memory: no RAM at {:#x} for the SMBIOS tables", kSmbios);
  return {};
}

}  // namespace gemel::x86
