// Counts what chips ask of the machine.
#pragma once
#include <vector>

#include "vmm/devices/machine_events.h"

namespace gemel::testing {

class FakeMachineEvents : public MachineEvents {
 public:
  void OnPowerOff() override { ++power_offs; }
  void OnReset() override { ++resets; }
  void OnPanic(Panic panic) override { panics.push_back(panic); }
  int power_offs = 0;
  int resets = 0;
  std::vector<Panic> panics;
};

}  // namespace gemel::testing
