// What a chip asks of the whole machine.
#pragma once

namespace gemel {

// Called on vCPU threads: hand over and return. The guest runs on until its vCPUs are stopped, so
// either may come again.
class MachineEvents {
 public:
  virtual ~MachineEvents() = default;
  virtual void OnPowerOff() = 0;
  virtual void OnReset() = 0;
};

}  // namespace gemel
