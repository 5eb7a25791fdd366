// The definition block: what there is on the system bus, and S5.
#pragma once
#include "vmm/arch/x86/acpi/aml.h"
#include "vmm/arch/x86/acpi/tables.h"

namespace gemel::x86 {

// The AML behind the DSDT's table header.
aml::Bytes BuildDsdtTerms(const AcpiConfig& config);

}  // namespace gemel::x86
