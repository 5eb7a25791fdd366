// Processors that never were: every feature bit we know, and an identity.
#pragma once
#include <string>

#include "vmm/arch/x86/cpu_models.h"
#include "vmm/arch/x86/cpuid.h"

namespace gemel::x86 {

// What KVM might say on a processor of `vendor` (kIntel or kAmd) that has all of KnownCpuFeatures.
HostCpu SyntheticHost(CpuVendor vendor);
// Takes a feature away.
void Remove(HostCpu* host, std::string_view feature);
// A line an entry, for comparing with golden text.
std::string ToText(const CpuidTable& table);

}  // namespace gemel::x86
