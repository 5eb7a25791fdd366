#include "vmm/machine/platform.h"

#include "vmm/arch/x86/memory_map.h"
#include "vmm/machine/micro_platform.h"
#include "vmm/machine/server_platform.h"

namespace gemel {

std::vector<MemoryRange> Platform::Ram(const MachineConfig& config) {
  if (config.profile == Profile::kServer) return x86::ServerRam(config.memory.size);
  return x86::MicroRam(config.memory.size);
}

MemoryRange Platform::Shadowed(const MachineConfig& config) {
  return config.profile == Profile::kServer ? ShadowRam::kRange : MemoryRange{};
}

Result<std::unique_ptr<Platform>> Platform::Create(const PlatformBase& base) {
  if (base.config->profile == Profile::kServer) return ServerPlatform::Create(base);
  return MicroPlatform::Create(base);
}

}  // namespace gemel
