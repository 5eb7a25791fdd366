#include "vmm/arch/x86/cpuid.h"

#include <cpuid.h>

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "vmm/arch/x86/cpu_models.h"
#include "vmm/arch/x86/cpuid_model.h"

namespace gemel::x86 {
namespace {

constexpr std::uint32_t Bit(unsigned n) { return 1u << n; }

void SetBit(std::uint32_t* value, unsigned bit, bool on) {
  *value = on ? *value | Bit(bit) : *value & ~Bit(bit);
}

// Bits of an APIC id that tell `cpus` processors apart.
std::uint32_t ApicIdBits(std::uint32_t cpus) {
  return static_cast<std::uint32_t>(std::bit_width(cpus - 1));
}

void Clear(CpuidTable* table, std::uint32_t function) {
  for (CpuidEntry& e : *table) {
    if (e.function == function) e.eax = e.ebx = e.ecx = e.edx = 0;
  }
}

// AMX's state needs a permission that this process does not ask for; its bits go with it.
void HideAmxWithoutState(CpuidTable* table) {
  constexpr std::uint32_t kTileState = Bit(17) | Bit(18);
  const CpuidEntry* xsave = FindLeaf(*table, 0xd, 0);
  if (xsave != nullptr && (xsave->eax & kTileState) == kTileState) return;
  LeafAt(table, 7, 0, true).edx &= ~(Bit(22) | Bit(24) | Bit(25));
}

// What no guest gets, see the header.
void HideUnoffered(CpuidTable* table) {
  constexpr std::uint32_t kMonitorLeaf = 5, kPmu = 0xa, kSgx = 0x12, kTrace = 0x14;
  constexpr std::uint32_t kSvm = 0x8000000a, kSev = 0x8000001f, kAmdPmu2 = 0x80000022;
  for (const std::uint32_t leaf : {kMonitorLeaf, kPmu, kSgx, kTrace, kSvm, kSev, kAmdPmu2}) {
    Clear(table, leaf);
  }
  CpuidEntry& basic = LeafAt(table, 1);
  basic.ecx &= ~(Bit(3) | Bit(5) | Bit(15));  // MONITOR, VMX, PDCM
  basic.ecx &= ~Bit(27);                      // OSXSAVE follows CR4; KVM sets it
  CpuidEntry& structured = LeafAt(table, 7, 0, true);
  structured.ebx &= ~(Bit(2) | Bit(25));  // SGX, processor trace
  structured.ecx &= ~Bit(30);             // SGX launch configuration
  CpuidEntry& extended = LeafAt(table, 0x80000001);
  extended.ecx &= ~(Bit(2) | Bit(10) | Bit(23) | Bit(24) | Bit(28));  // SVM, IBS, counters
  HideAmxWithoutState(table);
}

CpuidTable HostTable(const HostCpu& host) {
  CpuidTable table = host.supported;
  HideUnoffered(&table);
  for (const CpuidEntry& brand : host.brand) {
    if (brand.function != 0) LeafAt(&table, brand.function) = brand;
  }
  LeafAt(&table, 0x80000007).edx &= Bit(8);  // invariant TSC; no power management
  return table;
}

// SDM vol. 2, CPUID leaf 4, and AMD's 0x8000001D, which is laid out the same but for the cores.
void SetCacheSharing(CpuidTable* table, std::uint32_t cpus, std::uint32_t leaf) {
  constexpr std::uint32_t kSharing = 0xfffu << 14, kCores = 0x3fu << 26;
  const bool intel = leaf == 4;
  const std::uint32_t ids = (1u << ApicIdBits(cpus)) - 1;
  const std::uint32_t all = intel ? ids : cpus - 1;
  for (CpuidEntry& cache : *table) {
    if (cache.function != leaf || (cache.eax & 0x1f) == 0) continue;
    const std::uint32_t level = (cache.eax >> 5) & 7;
    cache.eax &= ~(kSharing | kCores);
    cache.eax |= (level >= 3 ? all : 0) << 14;
    if (intel) cache.eax |= ids << 26;
  }
}

// Leaves 0xB and 0x1F: one thread a core, `cpus` cores (SDM vol. 2; AMD has 0xB too). EDX, the
// x2APIC id, is CpuidOfCpu's.
void SetExtendedTopology(CpuidTable* table, std::uint32_t cpus, std::uint32_t leaf) {
  constexpr std::uint32_t kThread = 1 << 8, kCore = 2 << 8;
  std::erase_if(*table, [leaf](const CpuidEntry& e) { return e.function == leaf; });
  table->push_back({leaf, 0, true, 0, 1, kThread | 0, 0});
  table->push_back({leaf, 1, true, ApicIdBits(cpus), cpus, kCore | 1, 0});
  table->push_back({leaf, 2, true, 0, 0, 2, 0});
}

void SetAmdTopology(CpuidTable* table, std::uint32_t cpus) {
  constexpr std::uint32_t kCmpLegacy = 1, kTopologyExtensions = 22;
  CpuidEntry& extended = LeafAt(table, 0x80000001);
  SetBit(&extended.ecx, kCmpLegacy, cpus > 1);
  const bool extensions = (extended.ecx & Bit(kTopologyExtensions)) != 0;
  LeafAt(table, 0x80000008).ecx = (cpus - 1) | (ApicIdBits(cpus) << 12);
  if (!extensions) return;
  CpuidEntry& top = LeafAt(table, 0x80000000);
  top.eax = std::max(top.eax, 0x8000001eu);
  LeafAt(table, 0x8000001e) = {0x8000001e, 0, false, 0, 0, 0, 0};
  SetCacheSharing(table, cpus, 0x8000001d);
}

void SetTopology(CpuidTable* table, std::uint32_t cpus) {
  constexpr std::uint32_t kHtt = 28;
  CpuidEntry& basic = LeafAt(table, 1);
  basic.ebx = (basic.ebx & 0x0000ffff) | (cpus << 16);
  SetBit(&basic.edx, kHtt, cpus > 1);
  if (VendorOf(*table) == CpuVendor::kAmd) {
    SetAmdTopology(table, cpus);
  } else {
    SetCacheSharing(table, cpus, 4);
    LeafAt(table, 0x80000008).ecx = 0;
  }
  CpuidEntry& top = LeafAt(table, 0);
  top.eax = std::max(top.eax, 0xbu);
  const bool has_1f = top.eax >= 0x1f;
  SetExtendedTopology(table, cpus, 0xb);
  if (has_1f) SetExtendedTopology(table, cpus, 0x1f);
}

// KVM's own leaves (Documentation/virt/kvm/x86/cpuid.rst), what it supports of what needs nothing
// of us.
void SetKvmLeaves(CpuidTable* table, std::span<const CpuidEntry> supported) {
  constexpr std::uint32_t kBase = 0x40000000, kClock = 0x40000001;
  constexpr std::uint32_t kOffered =
      Bit(0) | Bit(3) | Bit(24) |            // kvmclock, its MSRs, its stability
      Bit(1) |                               // no I/O delay needed
      Bit(4) | Bit(10) | Bit(14) |           // asynchronous page faults
      Bit(5) | Bit(6) | Bit(7) |             // steal time, EOI in memory, unhalt
      Bit(9) | Bit(11) | Bit(12) | Bit(13);  // TLB flush, IPIs, halt polling, yield
  const CpuidEntry* base = FindLeaf(supported, kBase);
  const CpuidEntry* features = FindLeaf(supported, kClock);
  std::erase_if(*table, [](const CpuidEntry& e) { return e.function >> 28 == 4; });
  if (base == nullptr || features == nullptr) return;
  table->push_back({kBase, 0, false, kClock, base->ebx, base->ecx, base->edx});
  table->push_back({kClock, 0, false, features->eax & kOffered, 0, 0, 0});
}

// What KVM emulates whatever the processor is.
void SetEmulated(CpuidTable* table, const HostCpu& host) {
  constexpr std::uint32_t kX2apic = 21, kTscDeadline = 24, kHypervisor = 31;
  CpuidEntry& basic = LeafAt(table, 1);
  const CpuidEntry* supported = FindLeaf(host.supported, 1);
  const std::uint32_t host_ecx = supported == nullptr ? 0 : supported->ecx;
  SetBit(&basic.ecx, kX2apic, (host_ecx & Bit(kX2apic)) != 0);
  SetBit(&basic.ecx, kTscDeadline, host.tsc_deadline_timer || (host_ecx & Bit(kTscDeadline)) != 0);
  SetBit(&basic.ecx, kHypervisor, true);
}

}  // namespace

const CpuidEntry* FindLeaf(std::span<const CpuidEntry> table, std::uint32_t function,
                           std::uint32_t index) {
  const auto found = std::ranges::find_if(table, [=](const CpuidEntry& e) {
    return e.function == function && (!e.index_matters || e.index == index);
  });
  return found == table.end() ? nullptr : &*found;
}

CpuidEntry& LeafAt(CpuidTable* table, std::uint32_t function, std::uint32_t index,
                   bool index_matters) {
  const auto found = std::ranges::find_if(*table, [=](const CpuidEntry& e) {
    return e.function == function && (!e.index_matters || e.index == index);
  });
  if (found != table->end()) return *found;
  table->push_back({function, index, index_matters, 0, 0, 0, 0});
  return table->back();
}

std::array<CpuidEntry, 3> ReadBrand() {
  std::array<CpuidEntry, 3> brand{};
  std::uint32_t function = 0x80000002;
  for (CpuidEntry& e : brand) {
    if (__get_cpuid(function, &e.eax, &e.ebx, &e.ecx, &e.edx) == 0) return {};
    e.function = function++;
  }
  return brand;
}

Result<CpuidTable> MakeGuestCpuid(const HostCpu& host, std::string_view model, std::uint32_t cpus) {
  CHECK(cpus >= 1 && cpus <= 255);
  CpuidTable table;
  if (model == "host") {
    table = HostTable(host);
  } else {
    const CpuModel* found = FindCpuModel(model);
    if (found == nullptr)
      return InvalidArgument("cpu: {}: unknown; there are {}", model, CpuModelNames());
    ASSIGN_OR_RETURN(table, ModelTable(host.supported, *found));
  }
  SetEmulated(&table, host);
  SetTopology(&table, cpus);
  SetKvmLeaves(&table, host.supported);
  std::ranges::sort(
      table, {}, [](const CpuidEntry& e) { return (std::uint64_t{e.function} << 32) | e.index; });
  return table;
}

CpuidTable CpuidOfCpu(const CpuidTable& guest, std::uint32_t cpu) {
  CpuidTable table = guest;
  for (CpuidEntry& e : table) {
    if (e.function == 1) e.ebx = (e.ebx & 0x00ffffff) | (cpu << 24);
    if (e.function == 0xb || e.function == 0x1f) e.edx = cpu;
    if (e.function == 0x8000001e) {
      // AMD APM vol. 3, E.4.16: the extended APIC id; the core's id, of one thread.
      e.eax = cpu;
      e.ebx = cpu & 0xff;
    }
  }
  return table;
}

}  // namespace gemel::x86
