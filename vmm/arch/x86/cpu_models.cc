#include "vmm/arch/x86/cpu_models.h"

#include <algorithm>

namespace gemel::x86 {
namespace {

using Features = std::vector<std::string_view>;

Features Join(std::initializer_list<Features> lists) {
  Features all;
  for (const Features& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

Features Without(Features features, const Features& removed) {
  std::erase_if(features, [&removed](std::string_view name) {
    return std::ranges::find(removed, name) != removed.end();
  });
  return features;
}

// x86-64 psABI, table 3.1, each level with those before; the baseline with what every 64-bit kernel
// assumes besides.
const Features& Baseline() {
  static const Features features = {"fpu",  "de",   "pse",  "tsc",     "msr",     "pae",
                                    "mce",  "cx8",  "apic", "sep",     "mtrr",    "pge",
                                    "mca",  "cmov", "pat",  "pse36",   "clflush", "mmx",
                                    "fxsr", "sse",  "sse2", "syscall", "nx",      "lm"};
  return features;
}
const Features& Level2() {
  static const Features features =
      Join({Baseline(), {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}});
  return features;
}
const Features& Level3() {
  static const Features features =
      Join({Level2(), {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}});
  return features;
}
const Features& Level4() {
  static const Features features =
      Join({Level3(), {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}});
  return features;
}

// What Intel and AMD called by these names, without what no guest of ours gets.
Features Nehalem() { return Join({Level2(), {"vme"}}); }
Features Haswell() {
  return Join({Level3(),
               {"vme", "pclmulqdq", "aes", "pcid", "rdrand", "xsaveopt", "fsgsbase", "smep", "erms",
                "invpcid", "hle", "rtm", "rdtscp"}});
}
Features SkylakeServer() {
  return Join({Level4(),
               Haswell(),
               {"rdseed", "adx", "smap", "clflushopt", "clwb", "xsavec", "xgetbv1", "3dnowprefetch",
                "pdpe1gb"}});
}
Features Epyc() {
  return Join(
      {Level3(), {"vme",    "pclmulqdq",  "aes",           "rdrand",     "fsgsbase", "smep",
                  "rdseed", "adx",        "smap",          "clflushopt", "sha_ni",   "xsaveopt",
                  "xsavec", "xgetbv1",    "3dnowprefetch", "osvw",       "topoext",  "misalignsse",
                  "sse4a",  "cr8_legacy", "mmxext",        "fxsr_opt",   "pdpe1gb",  "rdtscp"}});
}
Features EpycRome() {
  return Join({Epyc(), {"umip", "rdpid", "clwb", "clzero", "xsaveerptr", "wbnoinvd"}});
}

constexpr CpuSignature kNehalem{6, 26, 3}, kHaswell{6, 60, 4}, kSkylakeServer{6, 85, 4};
constexpr CpuSignature kBulldozer{0x15, 2, 0}, kZen{0x17, 1, 2}, kZen2{0x17, 49, 0},
    kZen4{0x19, 17, 1};

std::vector<CpuModel> MakeModels() {
  constexpr auto kIntel = CpuVendor::kIntel;
  constexpr auto kAmd = CpuVendor::kAmd;
  const Features tsx = {"hle", "rtm"};
  return {
      {"x86-64-v2", "x86-64-v2 processor", {}, kNehalem, kBulldozer, Level2()},
      {"x86-64-v2-AES",
       "x86-64-v2-AES processor",
       {},
       kNehalem,
       kBulldozer,
       Join({Level2(), {"aes"}})},
      {"x86-64-v3", "x86-64-v3 processor", {}, kHaswell, kZen, Join({Level3(), {"aes"}})},
      {"x86-64-v4", "x86-64-v4 processor", {}, kSkylakeServer, kZen4, Join({Level4(), {"aes"}})},
      {"Nehalem", "Intel Core i7 9xx (Nehalem Class Core i7)", kIntel, kNehalem, {}, Nehalem()},
      {"Haswell", "Intel Core Processor (Haswell)", kIntel, kHaswell, {}, Haswell()},
      {"Haswell-noTSX",
       "Intel Core Processor (Haswell, no TSX)",
       kIntel,
       {6, 60, 1},
       {},
       Without(Haswell(), tsx)},
      {"Skylake-Server",
       "Intel Xeon Processor (Skylake)",
       kIntel,
       kSkylakeServer,
       {},
       SkylakeServer()},
      {"Skylake-Server-noTSX-IBRS",
       "Intel Xeon Processor (Skylake, IBRS, no TSX)",
       kIntel,
       kSkylakeServer,
       {},
       Join({Without(SkylakeServer(), tsx), {"spec_ctrl"}})},
      {"EPYC", "AMD EPYC Processor", kAmd, {}, kZen, Epyc()},
      {"EPYC-IBPB", "AMD EPYC Processor (with IBPB)", kAmd, {}, kZen, Join({Epyc(), {"ibpb"}})},
      {"EPYC-Rome",
       "AMD EPYC-Rome Processor",
       kAmd,
       {},
       kZen2,
       Join({EpycRome(), {"ibpb", "stibp", "amd_ssbd"}})},
  };
}

}  // namespace

std::span<const CpuModel> CpuModels() {
  static const std::vector<CpuModel> models = MakeModels();
  return models;
}

const CpuModel* FindCpuModel(std::string_view name) {
  const auto models = CpuModels();
  const auto found = std::ranges::find(models, name, &CpuModel::name);
  return found == models.end() ? nullptr : &*found;
}

std::string CpuModelNames() {
  std::string names = "host";
  for (const CpuModel& model : CpuModels()) names += fmt::format(", {}", model.name);
  return names;
}

CpuVendor VendorOf(std::span<const CpuidEntry> table) {
  const CpuidEntry* leaf = FindLeaf(table, 0);
  if (leaf == nullptr) return CpuVendor::kOther;
  // EBX alone tells them apart: "Genu", "Auth"; Hygon's processors ("Hygo") are AMD's design.
  if (leaf->ebx == 0x756e6547) return CpuVendor::kIntel;
  if (leaf->ebx == 0x68747541 || leaf->ebx == 0x6f677948) return CpuVendor::kAmd;
  return CpuVendor::kOther;
}

std::string_view VendorName(CpuVendor vendor) {
  switch (vendor) {
    case CpuVendor::kIntel:
      return "Intel";
    case CpuVendor::kAmd:
      return "AMD";
    case CpuVendor::kOther:
      return "another vendor";
  }
  return "";
}

std::uint32_t EncodeSignature(const CpuSignature& signature) {
  const std::uint32_t family = signature.family < 15 ? signature.family : 15;
  const std::uint32_t extended_family = signature.family - family;
  return (signature.stepping & 0xf) | ((signature.model & 0xf) << 4) | (family << 8) |
         ((signature.model >> 4) << 16) | (extended_family << 20);
}

}  // namespace gemel::x86
