// SMBIOS tables of machine type server-1 (SMBIOS 3.6): who the machine is, for dmidecode, cloud-init
// and inventories. Types 0 (BIOS), 1 (system), 3 (chassis), 4 (processor), 16, 17, 19 (memory), 32
// (boot status), 127 (end). Guest ABI: the bytes for a given configuration never change; a golden
// file holds them.
#pragma once
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "vmm/config/identity_config.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::x86 {

struct SmbiosConfig {
  IdentityConfig identity;  // its UUID is shown as it is
  std::uint32_t cpus = 1;   // one socket of so many cores
  std::vector<MemoryRange> ram;
};

// The 64-bit entry point, padded to 32 bytes, then the structures, for guest address `base`. Pure.
// REQUIRES: Validate(config.identity) passed; `ram` is not empty.
std::vector<std::uint8_t> BuildSmbios(const SmbiosConfig& config, std::uint64_t base);

// Writes them to kSmbios, where kernels look. kInvalidArgument if they do not fit.
// REQUIRES: no vCPU runs.
Status WriteSmbios(const GuestMemory& memory, const SmbiosConfig& config);

}  // namespace gemel::x86
