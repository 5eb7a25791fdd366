// Named CPU models: fixed sets of features with a fixed identity, so that a guest sees the same
// processor on every host that can show it. Names are those of the x86-64 psABI, Proxmox and QEMU.
//
// A released model never changes.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/arch/x86/cpuid.h"

namespace gemel::x86 {

enum class CpuidRegister : std::uint8_t { kEax, kEbx, kEcx, kEdx };

// Named as Linux does in /proc/cpuinfo.
struct CpuFeature {
  std::string_view name;
  std::uint32_t function;
  std::uint32_t index;
  CpuidRegister cpuid_register;
  std::uint8_t bit;
};

std::span<const CpuFeature> KnownCpuFeatures();
const CpuFeature* FindCpuFeature(std::string_view name);
bool HasCpuFeature(std::span<const CpuidEntry> table, const CpuFeature& feature);

enum class CpuVendor : std::uint8_t { kIntel, kAmd, kOther };
CpuVendor VendorOf(std::span<const CpuidEntry> table);
std::string_view VendorName(CpuVendor vendor);

// Family and model as a person counts them: extended fields are added in.
struct CpuSignature {
  std::uint32_t family = 0;
  std::uint32_t model = 0;
  std::uint32_t stepping = 0;
};
// Leaf 1 EAX (SDM vol. 2, CPUID, "Version Information").
std::uint32_t EncodeSignature(const CpuSignature& signature);

struct CpuModel {
  std::string_view name;
  std::string_view brand;           // what leaves 0x80000002 to 4 say
  std::optional<CpuVendor> vendor;  // none: whichever the host is
  CpuSignature intel;               // the one for the vendor it is
  CpuSignature amd;
  std::vector<std::string_view> features;
};

// All but "host".
std::span<const CpuModel> CpuModels();
const CpuModel* FindCpuModel(std::string_view name);
// "host, x86-64-v2, ...", for messages.
std::string CpuModelNames();

}  // namespace gemel::x86
