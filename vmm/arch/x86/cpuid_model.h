// The CPUID table of a named model, before topology and KVM's own leaves. Private to vmm/arch/x86.
#pragma once
#include "vmm/arch/x86/cpu_models.h"
#include "vmm/arch/x86/cpuid.h"

namespace gemel::x86 {

// The leaf, made of zeros if it is not there. Not a reference to keep: the table may grow.
CpuidEntry& LeafAt(CpuidTable* table, std::uint32_t function, std::uint32_t index = 0,
                   bool index_matters = false);

// Fails as MakeGuestCpuid does. Of the host it takes its vendor, where the model has none, its
// physical address bits, and where XSAVE keeps each component.
Result<CpuidTable> ModelTable(std::span<const CpuidEntry> host, const CpuModel& model);

}  // namespace gemel::x86
