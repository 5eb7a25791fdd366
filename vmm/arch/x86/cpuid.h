// What CPUID tells a guest, as data: pure functions from what the host can show, a model and the
// number of processors. For a named model the answer is guest ABI (tests/unit/vmm/arch has it as
// golden text); for "host" it is what the host can show.
//
// Never shown: performance counters (no PMU is offered), SGX, nested virtualization, MONITOR.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gemel::x86 {

// One leaf, or one subleaf of a leaf whose answer depends on ECX.
struct CpuidEntry {
  std::uint32_t function = 0;
  std::uint32_t index = 0;
  bool index_matters = false;
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;
  friend bool operator==(const CpuidEntry&, const CpuidEntry&) = default;
};

using CpuidTable = std::vector<CpuidEntry>;

// The leaf, or null. `index` only where it matters.
const CpuidEntry* FindLeaf(std::span<const CpuidEntry> table, std::uint32_t function,
                           std::uint32_t index = 0);

// What a guest's CPUID is made from.
struct HostCpu {
  CpuidTable supported;               // Kvm::supported_cpuid
  bool tsc_deadline_timer = false;    // KVM has it, whatever `supported` says
  std::array<CpuidEntry, 3> brand{};  // leaves 0x80000002 to 4, see ReadBrand
};

// The brand string's leaves of the processor this runs on; KVM leaves them out.
std::array<CpuidEntry, 3> ReadBrand();

// The table of a machine with `cpus` processors (1 to 64, one socket, one thread a core), but for
// what differs between them. kInvalidArgument: "cpu: <model>: ..." for a model that is unknown, of
// another vendor, or that needs what this host lacks, naming each feature.
Result<CpuidTable> MakeGuestCpuid(const HostCpu& host, std::string_view model, std::uint32_t cpus);

// The same table for the processor with APIC id `cpu`.
CpuidTable CpuidOfCpu(const CpuidTable& guest, std::uint32_t cpu);

}  // namespace gemel::x86
