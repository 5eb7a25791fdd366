#include "vmm/machine/platform.h"

#include "vmm/arch/x86/memory_map.h"
#include "vmm/machine/micro_platform.h"

namespace gemel {

std::vector<MemoryRange> Platform::Ram(const MachineConfig& config) {
  return x86::MicroRam(config.memory.size);
}

Result<std::unique_ptr<Platform>> Platform::Create(const PlatformBase& base) {
  return MicroPlatform::Create(base);
}

}  // namespace gemel
