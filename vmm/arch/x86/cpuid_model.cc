#include "vmm/arch/x86/cpuid_model.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/load_le.h"

namespace gemel::x86 {
namespace {

constexpr std::uint32_t kLineFlushSize = 8 << 8;  // leaf 1 EBX: CLFLUSH works on 64 bytes

// Leaf 4 and 0x8000001D (SDM vol. 2, CPUID leaf 4).
struct Cache {
  std::uint32_t type;  // 1 data, 2 instructions, 3 both
  std::uint32_t level;
  std::uint32_t ways;
  std::uint32_t sets;
};
constexpr Cache kIntelCaches[] = {
    {1, 1, 8, 64}, {2, 1, 8, 64}, {3, 2, 16, 1024}, {3, 3, 16, 16384}};
constexpr Cache kAmdCaches[] = {{1, 1, 8, 64}, {2, 1, 8, 64}, {3, 2, 8, 1024}, {3, 3, 16, 16384}};

void AddCaches(CpuidTable* table, std::uint32_t leaf, std::span<const Cache> caches) {
  constexpr std::uint32_t kSelfInitializing = 1 << 8, kLine = 64;
  std::uint32_t index = 0;
  for (const Cache& cache : caches) {
    table->push_back({leaf, index++, true, cache.type | (cache.level << 5) | kSelfInitializing,
                      ((cache.ways - 1) << 22) | (kLine - 1), cache.sets - 1, 0});
  }
  table->push_back({leaf, index, true, 0, 0, 0, 0});
}

std::uint32_t& RegisterOf(CpuidEntry& entry, CpuidRegister which) {
  switch (which) {
    case CpuidRegister::kEax:
      return entry.eax;
    case CpuidRegister::kEbx:
      return entry.ebx;
    case CpuidRegister::kEcx:
      return entry.ecx;
    case CpuidRegister::kEdx:
      break;
  }
  return entry.edx;
}

Status CheckVendor(const CpuModel& model, CpuVendor host) {
  if (!model.vendor || *model.vendor == host) return {};
  return InvalidArgument("cpu: {}: a processor of {}, and this host's is of {}", model.name,
                         VendorName(*model.vendor), VendorName(host));
}

Status CheckFeatures(const CpuModel& model, std::span<const CpuidEntry> host) {
  std::string missing;
  for (const std::string_view name : model.features) {
    const CpuFeature* feature = FindCpuFeature(name);
    CHECK(feature != nullptr);
    if (HasCpuFeature(host, *feature)) continue;
    missing += missing.empty() ? "" : ", ";
    missing += name;
  }
  if (missing.empty()) return {};
  return InvalidArgument("cpu: {}: this host lacks {}", model.name, missing);
}

void AddIdentity(CpuidTable* table, const CpuModel& model, const CpuidEntry& host_vendor,
                 CpuVendor vendor) {
  const bool amd = vendor == CpuVendor::kAmd;
  const std::uint32_t signature = EncodeSignature(amd ? model.amd : model.intel);
  table->push_back({0, 0, false, 0xd, host_vendor.ebx, host_vendor.ecx, host_vendor.edx});
  table->push_back({1, 0, false, signature, kLineFlushSize, 0, 0});
  table->push_back({6, 0, false, 1 << 2, 0, 0, 0});  // the APIC timer never stops (ARAT)
  table->push_back({7, 0, true, 0, 0, 0, 0});
  table->push_back({0x80000000, 0, false, 0x80000008, 0, 0, 0});
  table->push_back({0x80000001, 0, false, amd ? signature : 0, 0, 0, 0});
  std::array<std::byte, 48> brand{};
  std::memcpy(brand.data(), model.brand.data(), std::min(model.brand.size(), brand.size() - 1));
  for (std::uint32_t i = 0; i < 3; ++i) {
    const std::size_t at = std::size_t{16} * i;
    table->push_back({0x80000002 + i, 0, false, LoadLe32(brand, at), LoadLe32(brand, at + 4),
                      LoadLe32(brand, at + 8), LoadLe32(brand, at + 12)});
  }
  table->push_back({0x80000007, 0, false, 0, 0, 0, 0});
}

void AddCacheLeaves(CpuidTable* table, bool amd) {
  if (!amd) {
    table->push_back({2, 0, false, 0x00ff0001, 0xf0, 0, 0});  // 0xff: see leaf 4
    AddCaches(table, 4, kIntelCaches);
    table->push_back({0x80000006, 0, false, 0, 0, 0x04008040, 0});  // 1 MiB, 16 ways
    return;
  }
  // AMD APM vol. 3, E.4.4 and E.4.5: L1 32 KiB, L2 512 KiB, L3 16 MiB.
  table->push_back({0x80000005, 0, false, 0, 0, 0x20080140, 0x20080140});
  table->push_back({0x80000006, 0, false, 0, 0, 0x02006140, 0x00808140});
  if (HasCpuFeature(*table, *FindCpuFeature("topoext"))) AddCaches(table, 0x8000001d, kAmdCaches);
}

// SDM vol. 1, 13.2. EBX is KVM's to keep up to date.
void AddXsave(CpuidTable* table, std::span<const CpuidEntry> host) {
  constexpr std::uint32_t kLegacyArea = 512, kHeader = 64;
  const auto has = [table](std::string_view name) {
    return HasCpuFeature(*table, *FindCpuFeature(name));
  };
  if (!has("xsave")) return;
  std::uint32_t components = 0x3;          // x87, SSE
  if (has("avx")) components |= 0x4;       // upper halves of YMM
  if (has("avx512f")) components |= 0xe0;  // opmask, ZMM
  std::uint32_t size = kLegacyArea + kHeader;
  for (std::uint32_t i = 2; i < 32; ++i) {
    const CpuidEntry* component = FindLeaf(host, 0xd, i);
    if (((components >> i) & 1) == 0 || component == nullptr) continue;
    table->push_back({0xd, i, true, component->eax, component->ebx, component->ecx, 0});
    size = std::max(size, component->eax + component->ebx);
  }
  table->push_back({0xd, 0, true, components, kLegacyArea + kHeader, size, 0});
  LeafAt(table, 0xd, 1, true);
}

void AddFeatures(CpuidTable* table, const CpuModel& model, bool amd) {
  for (const std::string_view name : model.features) {
    const CpuFeature* feature = FindCpuFeature(name);
    const bool subleaves = feature->function == 7 || feature->function == 0xd;
    CpuidEntry& leaf = LeafAt(table, feature->function, feature->index, subleaves);
    RegisterOf(leaf, feature->cpuid_register) |= 1u << feature->bit;
  }
  // AMD repeats some of leaf 1's bits (APM vol. 3, E.4.2).
  constexpr std::uint32_t kRepeated = 0x0183f3ff;
  if (amd) LeafAt(table, 0x80000001).edx |= LeafAt(table, 1).edx & kRepeated;
}

}  // namespace

Result<CpuidTable> ModelTable(std::span<const CpuidEntry> host, const CpuModel& model) {
  const CpuVendor vendor = VendorOf(host);
  RETURN_IF_ERROR(CheckVendor(model, vendor));
  RETURN_IF_ERROR(CheckFeatures(model, host));
  const bool amd = vendor == CpuVendor::kAmd;
  const CpuidEntry* host_vendor = FindLeaf(host, 0);
  const CpuidEntry* host_sizes = FindLeaf(host, 0x80000008);
  CpuidTable table;
  AddIdentity(&table, model, host_vendor == nullptr ? CpuidEntry{} : *host_vendor, vendor);
  constexpr std::uint32_t kLinearBits = 48 << 8;
  const std::uint32_t physical = host_sizes == nullptr ? 36 : host_sizes->eax & 0xff;
  table.push_back({0x80000008, 0, false, kLinearBits | physical, 0, 0, 0});
  AddFeatures(&table, model, amd);
  AddCacheLeaves(&table, amd);
  AddXsave(&table, host);
  return table;
}

}  // namespace gemel::x86
