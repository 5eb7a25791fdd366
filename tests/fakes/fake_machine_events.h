// Counts what chips ask of the machine.
#pragma once
#include "vmm/devices/machine_events.h"

namespace gemel::testing {

class FakeMachineEvents : public MachineEvents {
 public:
  void OnPowerOff() override { ++power_offs; }
  void OnReset() override { ++resets; }
  int power_offs = 0;
  int resets = 0;
};

}  // namespace gemel::testing
