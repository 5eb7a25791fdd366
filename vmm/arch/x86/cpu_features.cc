// The CPUID bits that models are made of (SDM vol. 2, CPUID; AMD APM vol. 3, appendix E).
#include <algorithm>
#include <array>

#include "vmm/arch/x86/cpu_models.h"

namespace gemel::x86 {
namespace {

using enum CpuidRegister;

constexpr auto kFeatures = std::to_array<CpuFeature>({
    {"fpu", 1, 0, kEdx, 0},
    {"vme", 1, 0, kEdx, 1},
    {"de", 1, 0, kEdx, 2},
    {"pse", 1, 0, kEdx, 3},
    {"tsc", 1, 0, kEdx, 4},
    {"msr", 1, 0, kEdx, 5},
    {"pae", 1, 0, kEdx, 6},
    {"mce", 1, 0, kEdx, 7},
    {"cx8", 1, 0, kEdx, 8},
    {"apic", 1, 0, kEdx, 9},
    {"sep", 1, 0, kEdx, 11},
    {"mtrr", 1, 0, kEdx, 12},
    {"pge", 1, 0, kEdx, 13},
    {"mca", 1, 0, kEdx, 14},
    {"cmov", 1, 0, kEdx, 15},
    {"pat", 1, 0, kEdx, 16},
    {"pse36", 1, 0, kEdx, 17},
    {"clflush", 1, 0, kEdx, 19},
    {"mmx", 1, 0, kEdx, 23},
    {"fxsr", 1, 0, kEdx, 24},
    {"sse", 1, 0, kEdx, 25},
    {"sse2", 1, 0, kEdx, 26},
    {"pni", 1, 0, kEcx, 0},
    {"pclmulqdq", 1, 0, kEcx, 1},
    {"ssse3", 1, 0, kEcx, 9},
    {"fma", 1, 0, kEcx, 12},
    {"cx16", 1, 0, kEcx, 13},
    {"pcid", 1, 0, kEcx, 17},
    {"sse4_1", 1, 0, kEcx, 19},
    {"sse4_2", 1, 0, kEcx, 20},
    {"movbe", 1, 0, kEcx, 22},
    {"popcnt", 1, 0, kEcx, 23},
    {"aes", 1, 0, kEcx, 25},
    {"xsave", 1, 0, kEcx, 26},
    {"avx", 1, 0, kEcx, 28},
    {"f16c", 1, 0, kEcx, 29},
    {"rdrand", 1, 0, kEcx, 30},
    {"fsgsbase", 7, 0, kEbx, 0},
    {"bmi1", 7, 0, kEbx, 3},
    {"hle", 7, 0, kEbx, 4},
    {"avx2", 7, 0, kEbx, 5},
    {"smep", 7, 0, kEbx, 7},
    {"bmi2", 7, 0, kEbx, 8},
    {"erms", 7, 0, kEbx, 9},
    {"invpcid", 7, 0, kEbx, 10},
    {"rtm", 7, 0, kEbx, 11},
    {"avx512f", 7, 0, kEbx, 16},
    {"avx512dq", 7, 0, kEbx, 17},
    {"rdseed", 7, 0, kEbx, 18},
    {"adx", 7, 0, kEbx, 19},
    {"smap", 7, 0, kEbx, 20},
    {"clflushopt", 7, 0, kEbx, 23},
    {"clwb", 7, 0, kEbx, 24},
    {"avx512cd", 7, 0, kEbx, 28},
    {"sha_ni", 7, 0, kEbx, 29},
    {"avx512bw", 7, 0, kEbx, 30},
    {"avx512vl", 7, 0, kEbx, 31},
    {"umip", 7, 0, kEcx, 2},
    {"pku", 7, 0, kEcx, 3},
    {"rdpid", 7, 0, kEcx, 22},
    {"fsrm", 7, 0, kEdx, 4},
    {"spec_ctrl", 7, 0, kEdx, 26},
    {"ssbd", 7, 0, kEdx, 31},
    {"xsaveopt", 0xd, 1, kEax, 0},
    {"xsavec", 0xd, 1, kEax, 1},
    {"xgetbv1", 0xd, 1, kEax, 2},
    {"lahf_lm", 0x80000001, 0, kEcx, 0},
    {"cr8_legacy", 0x80000001, 0, kEcx, 4},
    {"abm", 0x80000001, 0, kEcx, 5},
    {"sse4a", 0x80000001, 0, kEcx, 6},
    {"misalignsse", 0x80000001, 0, kEcx, 7},
    {"3dnowprefetch", 0x80000001, 0, kEcx, 8},
    {"osvw", 0x80000001, 0, kEcx, 9},
    {"topoext", 0x80000001, 0, kEcx, 22},
    {"syscall", 0x80000001, 0, kEdx, 11},
    {"nx", 0x80000001, 0, kEdx, 20},
    {"mmxext", 0x80000001, 0, kEdx, 22},
    {"fxsr_opt", 0x80000001, 0, kEdx, 25},
    {"pdpe1gb", 0x80000001, 0, kEdx, 26},
    {"rdtscp", 0x80000001, 0, kEdx, 27},
    {"lm", 0x80000001, 0, kEdx, 29},
    {"clzero", 0x80000008, 0, kEbx, 0},
    {"xsaveerptr", 0x80000008, 0, kEbx, 2},
    {"wbnoinvd", 0x80000008, 0, kEbx, 9},
    {"ibpb", 0x80000008, 0, kEbx, 12},
    {"ibrs", 0x80000008, 0, kEbx, 14},
    {"stibp", 0x80000008, 0, kEbx, 15},
    {"amd_ssbd", 0x80000008, 0, kEbx, 24},
});

std::uint32_t RegisterOf(const CpuidEntry& entry, CpuidRegister which) {
  switch (which) {
    case kEax:
      return entry.eax;
    case kEbx:
      return entry.ebx;
    case kEcx:
      return entry.ecx;
    case kEdx:
      return entry.edx;
  }
  return 0;
}

}  // namespace

std::span<const CpuFeature> KnownCpuFeatures() { return kFeatures; }

const CpuFeature* FindCpuFeature(std::string_view name) {
  const auto found = std::ranges::find(kFeatures, name, &CpuFeature::name);
  return found == kFeatures.end() ? nullptr : &*found;
}

bool HasCpuFeature(std::span<const CpuidEntry> table, const CpuFeature& feature) {
  const CpuidEntry* leaf = FindLeaf(table, feature.function, feature.index);
  return leaf != nullptr && ((RegisterOf(*leaf, feature.cpuid_register) >> feature.bit) & 1) != 0;
}

}  // namespace gemel::x86
