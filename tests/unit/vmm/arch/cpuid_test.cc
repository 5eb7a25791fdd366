#include "vmm/arch/x86/cpuid.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "base/file_util.h"
#include "tests/unit/vmm/arch/synthetic_host.h"
#include "vmm/arch/x86/cpu_models.h"

namespace gemel::x86 {
namespace {

CpuidTable Make(const HostCpu& host, std::string_view model, std::uint32_t cpus) {
  auto table = MakeGuestCpuid(host, model, cpus);
  EXPECT_TRUE(table.has_value()) << table.error().message;
  return table ? std::move(*table) : CpuidTable{};
}

std::string ErrorOf(const HostCpu& host, std::string_view model) {
  const auto table = MakeGuestCpuid(host, model, 1);
  return table ? "no error" : table.error().message;
}

CpuidEntry Leaf(const CpuidTable& table, std::uint32_t function, std::uint32_t index = 0) {
  const CpuidEntry* found = FindLeaf(table, function, index);
  EXPECT_NE(found, nullptr) << std::hex << function;
  return found == nullptr ? CpuidEntry{} : *found;
}

// A model is guest ABI: this text may only be added to. 4 processors, the third one's view.
class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, Model_IsAsReleased) {
  const std::string name = GetParam();
  const bool amd = name.ends_with(".amd");
  const HostCpu host = SyntheticHost(amd ? CpuVendor::kAmd : CpuVendor::kIntel);
  const CpuidTable table = CpuidOfCpu(Make(host, name.substr(0, name.rfind('.')), 4), 2);
  const char* folder = std::getenv("GEMEL_TEST_GOLDEN");
  ASSERT_NE(folder, nullptr);
  const auto golden = ReadTextFile(std::string(folder) + "/cpuid-" + name + ".txt");
  ASSERT_TRUE(golden.has_value()) << golden.error().message << "\n" << ToText(table);
  EXPECT_EQ(ToText(table), *golden);
}

INSTANTIATE_TEST_SUITE_P(Models, Golden,
                         testing::Values("x86-64-v2.intel", "x86-64-v2.amd", "x86-64-v2-AES.intel",
                                         "x86-64-v3.intel", "x86-64-v3.amd", "x86-64-v4.intel",
                                         "x86-64-v4.amd", "Nehalem.intel", "Haswell.intel",
                                         "Haswell-noTSX.intel", "Skylake-Server.intel",
                                         "Skylake-Server-noTSX-IBRS.intel", "EPYC.amd",
                                         "EPYC-IBPB.amd", "EPYC-Rome.amd"),
                         [](const auto& test) {
                           std::string name = test.param;
                           for (char& c : name) {
                             if (c == '-' || c == '.') c = '_';
                           }
                           return name;
                         });

TEST(GuestCpuid, UnknownModel_NamesTheKnownOnes) {
  const std::string error = ErrorOf(SyntheticHost(CpuVendor::kIntel), "Pentium");
  EXPECT_TRUE(error.starts_with("cpu: Pentium: unknown; there are host, x86-64-v2, ")) << error;
}

TEST(GuestCpuid, HostLacksFeatures_NamesEach) {
  HostCpu host = SyntheticHost(CpuVendor::kIntel);
  Remove(&host, "avx512f");
  Remove(&host, "sse4_2");
  EXPECT_EQ(ErrorOf(host, "x86-64-v4"), "cpu: x86-64-v4: this host lacks sse4_2, avx512f");
}

TEST(GuestCpuid, ModelOfAnotherVendor_IsRefused) {
  EXPECT_EQ(ErrorOf(SyntheticHost(CpuVendor::kIntel), "EPYC"),
            "cpu: EPYC: a processor of AMD, and this host's is of Intel");
}

TEST(GuestCpuid, EveryModel_UsesOnlyKnownFeaturesAndHasAUniqueName) {
  std::set<std::string_view> names;
  for (const CpuModel& model : CpuModels()) {
    EXPECT_TRUE(names.insert(model.name).second) << model.name;
    EXPECT_LT(model.brand.size(), 48u) << model.name;
    for (const std::string_view feature : model.features) {
      EXPECT_NE(FindCpuFeature(feature), nullptr) << model.name << ": " << feature;
    }
  }
}

TEST(GuestCpuid, Signature_EncodesExtendedFamilyAndModel) {
  EXPECT_EQ(EncodeSignature({6, 85, 4}), 0x50654u);
  EXPECT_EQ(EncodeSignature({0x17, 1, 2}), 0x800f12u);
  EXPECT_EQ(EncodeSignature({0x19, 17, 1}), 0xa10f11u);
}

TEST(GuestCpuid, Host_HidesWhatIsNotOffered) {
  HostCpu host = SyntheticHost(CpuVendor::kIntel);
  for (CpuidEntry& e : host.supported) {
    if (e.function == 1) e.ecx |= 1u << 5 | 1u << 15;        // VMX, PDCM
    if (e.function == 7 && e.index == 0) e.ebx |= 1u << 2;   // SGX
    if (e.function == 7 && e.index == 0) e.edx |= 1u << 24;  // AMX without its state
  }
  const CpuidTable table = Make(host, "host", 1);
  EXPECT_EQ(Leaf(table, 1).ecx & (1u << 5 | 1u << 15), 0u);
  EXPECT_EQ(Leaf(table, 7).ebx & 1u << 2, 0u);
  EXPECT_EQ(Leaf(table, 7).edx & 1u << 24, 0u);
  EXPECT_EQ(Leaf(table, 0xa).eax, 0u);
}

TEST(GuestCpuid, Host_KeepsItsIdentityAndInvariantTsc) {
  HostCpu host = SyntheticHost(CpuVendor::kIntel);
  host.brand[0] = {0x80000002, 0, false, 0x44434241, 0, 0, 0};
  const CpuidTable table = Make(host, "host", 1);
  EXPECT_EQ(Leaf(table, 1).eax, 0x000806f8u);
  EXPECT_EQ(Leaf(table, 0x80000002).eax, 0x44434241u);
  EXPECT_EQ(Leaf(table, 0x80000007).edx, 0x100u);
}

TEST(GuestCpuid, TscDeadline_IsShownWhereKvmHasItWhateverItsCpuidSays) {
  HostCpu host = SyntheticHost(CpuVendor::kAmd);
  EXPECT_NE(Leaf(Make(host, "host", 1), 1).ecx & 1u << 24, 0u);
  host.tsc_deadline_timer = false;
  EXPECT_EQ(Leaf(Make(host, "host", 1), 1).ecx & 1u << 24, 0u);
}

TEST(GuestCpuid, ParavirtualFeatures_AreThoseOfferedAndSupported) {
  const CpuidTable table = Make(SyntheticHost(CpuVendor::kIntel), "host", 1);
  EXPECT_EQ(Leaf(table, 0x40000000).ebx, 0x4b4d564bu);
  EXPECT_EQ(Leaf(table, 0x40000001).eax, 0x01007efbu);
  EXPECT_EQ(Leaf(table, 0x40000001).edx, 0u);
}

TEST(GuestCpuid, NoKvmLeaves_ShowsNone) {
  HostCpu host = SyntheticHost(CpuVendor::kIntel);
  std::erase_if(host.supported, [](const CpuidEntry& e) { return e.function >> 28 == 4; });
  EXPECT_EQ(FindLeaf(Make(host, "host", 1), 0x40000001), nullptr);
}

TEST(Topology, OneCpu_HasNoSiblings) {
  const CpuidTable table = Make(SyntheticHost(CpuVendor::kIntel), "host", 1);
  EXPECT_EQ(Leaf(table, 1).edx & 1u << 28, 0u);
  EXPECT_EQ(Leaf(table, 1).ebx >> 16, 1u);
  EXPECT_EQ(Leaf(table, 0xb, 1).eax, 0u);
  EXPECT_EQ(Leaf(table, 0xb, 1).ebx, 1u);
  EXPECT_EQ(Leaf(table, 4, 0).eax >> 14, 0u);
}

TEST(Topology, ThreeCpusOnIntel_ShareTheLastCacheAmongFourIds) {
  const CpuidTable table = CpuidOfCpu(Make(SyntheticHost(CpuVendor::kIntel), "host", 3), 2);
  EXPECT_EQ(Leaf(table, 1).ebx, 2u << 24 | 3u << 16 | 0x5678);
  EXPECT_EQ(Leaf(table, 4, 0).eax, 3u << 26 | 0u << 14 | 0x121);
  EXPECT_EQ(Leaf(table, 4, 1).eax, 3u << 26 | 3u << 14 | 0x163);
  EXPECT_EQ(Leaf(table, 0xb, 0), (CpuidEntry{0xb, 0, true, 0, 1, 0x100, 2}));
  EXPECT_EQ(Leaf(table, 0xb, 1), (CpuidEntry{0xb, 1, true, 2, 3, 0x201, 2}));
  EXPECT_EQ(Leaf(table, 0x1f, 1), (CpuidEntry{0x1f, 1, true, 2, 3, 0x201, 2}));
}

TEST(Topology, SixtyFourCpusOnAmd_HaveCoreIdsAndCounts) {
  const CpuidTable table = CpuidOfCpu(Make(SyntheticHost(CpuVendor::kAmd), "host", 64), 63);
  EXPECT_EQ(Leaf(table, 0x80000008).ecx, 6u << 12 | 63u);
  EXPECT_EQ(Leaf(table, 0x8000001e).eax, 63u);
  EXPECT_EQ(Leaf(table, 0x8000001e).ebx, 63u);
  EXPECT_EQ(Leaf(table, 0x8000001d, 0).eax, 0x121u);
  EXPECT_EQ(Leaf(table, 0x8000001d, 1).eax, 63u << 14 | 0x163);
  EXPECT_NE(Leaf(table, 0x80000001).ecx & 2, 0u);
  EXPECT_EQ(FindLeaf(table, 0x1f), nullptr);
}

}  // namespace
}  // namespace gemel::x86
