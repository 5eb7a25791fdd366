// The definition block: what there is on the system bus, and S5.
#pragma once
#include "vmm/arch/x86/acpi/aml.h"
#include "vmm/arch/x86/acpi/tables.h"

namespace gemel::x86 {

// The values of PM1_CNT's SLP_TYP that power off. The server's is what OVMF writes on a Q35.
inline constexpr std::uint8_t kMicroSleepTypeS5 = 5;
inline constexpr std::uint8_t kServerSleepTypeS5 = 0;

// The AML behind the DSDT's table header.
aml::Bytes BuildDsdtTerms(const AcpiConfig& config);

}  // namespace gemel::x86
