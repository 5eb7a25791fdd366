// What a chip asks of the whole machine.
#pragma once
#include <cstdint>

namespace gemel {

// Called on vCPU threads: hand over and return. The guest runs on until its vCPUs are stopped, so
// each may come again.
class MachineEvents {
 public:
  // What a kernel that panicked does next: nothing, or write a dump and reboot.
  enum class Panic : std::uint8_t { kDead, kDumping };

  virtual ~MachineEvents() = default;
  virtual void OnPowerOff() = 0;
  virtual void OnReset() = 0;
  virtual void OnPanic(Panic panic) = 0;
};

}  // namespace gemel
