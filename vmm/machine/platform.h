// What differs between the profiles of the machine: where RAM lies, the chips beside those that
// every PC has, the bus that devices hang on, and the tables that tell the guest of all this.
//
// PcMachine (pc_machine.h) builds one and drives it; both live on one thread.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/result.h"
#include "vmm/boot/boot.h"
#include "vmm/bus/io_bus.h"
#include "vmm/bus/io_handler.h"
#include "vmm/config/machine_config.h"
#include "vmm/devices/machine_events.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/virtio_devices.h"
#include "vmm/memory/guest_memory.h"

namespace gemel {

// What a platform is built on; all of it outlives the platform.
struct PlatformBase {
  const MachineConfig* config = nullptr;
  EventLoop* loop = nullptr;
  MachineEvents* events = nullptr;
  const GuestMemory* memory = nullptr;
  kvm::Vm* vm = nullptr;                    // with memory and interrupt controllers
  std::uint32_t physical_address_bits = 0;  // that a guest may have
  const Clock* clock = nullptr;
  IoHandler* reset_port = nullptr;  // for the platform to map
  IoBus* ports = nullptr;
  IoBus* mmio = nullptr;
};

class Platform {
 public:
  // RAM of the configured size as this profile lays it out.
  static std::vector<MemoryRange> Ram(const MachineConfig& config);
  // What of it the platform shows the guest by slots of its own; empty if nothing.
  static MemoryRange Shadowed(const MachineConfig& config);
  static Result<std::unique_ptr<Platform>> Create(const PlatformBase& base);
  virtual ~Platform() = default;

  // Hangs the device on the bus, behind the ones before it.
  virtual Status Attach(VirtioPart part) = 0;
  virtual const std::vector<MachineDevice>& devices() const = 0;

  // Writes what tells the guest of the machine into its (zeroed) memory, and adds to `sources` what
  // the kernel must be told of it. REQUIRES: no vCPU runs.
  virtual Status WriteTables(boot::BootSources& sources) = 0;

  virtual void PressPowerButton() = 0;
  virtual Status PressSleepButton() = 0;  // kUnimplemented where there is none
  // Puts every device back as it was new, whatever the driver is doing. `done` runs once a device,
  // on any thread, when nothing of it touches guest memory any more.
  virtual void ResetDevices(const std::function<void()>& done) = 0;
  // The chips as after power-on. REQUIRES: no vCPU runs and the devices are reset.
  virtual Status ResetChips() = 0;
};

}  // namespace gemel
