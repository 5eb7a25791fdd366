// Direct boot: puts a kernel, its initrd, its command line and what its boot protocol asks for into
// guest memory, and says how the first vCPU begins.
//
// ELF files with a PVH entry and bzImages; an ELF is tried first. What is big is read straight into
// guest RAM, once.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/arch/x86/boot_state.h"
#include "vmm/boot/boot_info.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::boot {

struct BootSources {
  int kernel_fd = -1;       // owned by the caller; only pread(2) and fstat(2) are called on it
  std::string kernel_name;  // for messages
  int initrd_fd = -1;       // -1: none
  std::string initrd_name;
  std::string cmdline;
  std::optional<GuestAddress> rsdp;  // WriteAcpiTables's answer; none with acpi=off
  std::vector<MapEntry> reserved;    // for the memory map, beside RAM and its own holes
};

// Fails with kInvalidArgument, one line naming the argument and the value, if anything about the
// sources is wrong; memory then holds rubbish. May be called again for the next boot of the
// machine. REQUIRES: `memory` reads as zero (new, or Clear() since), and no vCPU runs.
Result<x86::BootState> Load(const GuestMemory& memory, const BootSources& sources);

}  // namespace gemel::boot
