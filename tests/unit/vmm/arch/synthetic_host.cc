#include "tests/unit/vmm/arch/synthetic_host.h"

#include <fmt/format.h>

#include "base/check.h"

namespace gemel::x86 {
namespace {

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

CpuidEntry& Entry(CpuidTable& table, std::uint32_t function, std::uint32_t index) {
  for (CpuidEntry& e : table) {
    if (e.function == function && e.index == index) return e;
  }
  const bool subleaves = function == 7 || function == 0xd;
  table.push_back({function, index, subleaves, 0, 0, 0, 0});
  return table.back();
}

}  // namespace

HostCpu SyntheticHost(CpuVendor vendor) {
  HostCpu host;
  host.tsc_deadline_timer = true;
  CpuidTable& t = host.supported;
  if (vendor == CpuVendor::kIntel) {
    t.push_back({0, 0, false, 0x20, 0x756e6547, 0x6c65746e, 0x49656e69});
    t.push_back({4, 0, true, 0x1c004121, 0x01c0003f, 0x3f, 0});
    t.push_back({4, 1, true, 0x1c03c163, 0x03c0003f, 0x3fff, 4});
    t.push_back({4, 2, true, 0, 0, 0, 0});
  } else {
    t.push_back({0, 0, false, 0x10, 0x68747541, 0x444d4163, 0x69746e65});
    t.push_back({0x8000001d, 0, true, 0x4121, 0x01c0003f, 0x3f, 0});
    t.push_back({0x8000001d, 1, true, 0x3c163, 0x03c0003f, 0x3fff, 0});
    t.push_back({0x8000001d, 2, true, 0, 0, 0, 0});
  }
  t.push_back({1, 0, false, 0x000806f8, 0x12345678, 0x80200000, 0x10000000});
  t.push_back({0xa, 0, false, 0x08300805, 0, 0, 0x8603});
  t.push_back({0xd, 0, true, 0xe7, 0xa80, 0xa80, 0});
  t.push_back({0xd, 2, true, 0x100, 0x240, 0, 0});
  t.push_back({0xd, 5, true, 0x40, 0x440, 0, 0});
  t.push_back({0xd, 6, true, 0x200, 0x480, 0, 0});
  t.push_back({0xd, 7, true, 0x400, 0x680, 0, 0});
  t.push_back({0x40000000, 0, false, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d});
  t.push_back({0x40000001, 0, false, 0x0101feff, 0, 0, 1});
  t.push_back({0x80000000, 0, false, 0x80000021, 0, 0, 0});
  t.push_back({0x80000007, 0, false, 0, 0, 0, 0x100});
  t.push_back({0x80000008, 0, false, 0x3034, 0, 0, 0});
  for (const CpuFeature& feature : KnownCpuFeatures()) {
    RegisterOf(Entry(t, feature.function, feature.index), feature.cpuid_register) |= 1u
                                                                                     << feature.bit;
  }
  return host;
}

void Remove(HostCpu* host, std::string_view name) {
  const CpuFeature* feature = FindCpuFeature(name);
  CHECK(feature != nullptr);
  RegisterOf(Entry(host->supported, feature->function, feature->index), feature->cpuid_register) &=
      ~(1u << feature->bit);
}

std::string ToText(const CpuidTable& table) {
  std::string text;
  for (const CpuidEntry& e : table) {
    text += fmt::format("{:08x}{} {:08x} {:08x} {:08x} {:08x}\n", e.function,
                        e.index_matters ? fmt::format(".{}", e.index) : "  ", e.eax, e.ebx, e.ecx,
                        e.edx);
  }
  return text;
}

}  // namespace gemel::x86
