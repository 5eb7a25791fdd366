// The PCI side of machine type server-1, put together: root complex, host bridge at 00:00.0, eight
// root ports at 00:1c.0 to .7, LPC bridge at 00:1f.0, and both ways to configuration space.
// Devices of the machine are attached at 00:01.0 to 00:1b.0.
//
//   Q35::Create(wiring) → Attach(device n, …) … → Program(layout), before the first vCPU runs
//   reset of the machine: Reset(), Program(layout) again
#pragma once
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "vmm/bus/io_bus.h"
#include "vmm/bus/io_handler.h"
#include "vmm/bus/irq_lines.h"
#include "vmm/pci/chipset.h"
#include "vmm/pci/config_access.h"
#include "vmm/pci/pci_root.h"
#include "vmm/pci/resources.h"

namespace gemel::pci {

class Q35 {
 public:
  static constexpr unsigned kFirstDevice = 1;  // of those that Attach takes
  static constexpr unsigned kLastDevice = 0x1b;
  static constexpr unsigned kRootPorts = 8;
  static constexpr unsigned kRootPortDevice = 0x1c;

  // All outlive it.
  struct Wiring {
    IoBus* memory = nullptr;
    IoBus* ports = nullptr;
    IrqLines* lines = nullptr;
    ChipsetEvents* events = nullptr;  // may be null
    IoHandler* reset = nullptr;       // port 0xcf9, one byte; may be null
    IoHandler* pm = nullptr;          // what lies at PMBASE; may be null
    std::uint64_t pm_size = 0;
  };
  // Where firmware would have put things.
  struct Layout {
    std::uint64_t ecam = 0;
    std::uint16_t pm_base = 0;
    Resources resources;
  };

  // kAlreadyExists if ports 0xcf8-0xcff are taken.
  static Result<std::unique_ptr<Q35>> Create(const Wiring& wiring);
  // REQUIRES: no vCPU runs any more.
  ~Q35();
  Q35(const Q35&) = delete;
  Q35& operator=(const Q35&) = delete;

  // As function 0 of this device. Before vCPUs run.
  Status Attach(unsigned device, std::unique_ptr<Function> function);
  // Everything as at power-on, attached functions too (their Function::Reset is a function level
  // reset: it starts the reset of a device and does not wait). REQUIRES: no vCPU runs.
  void Reset();
  // Also makes 0xC0000-0xFFFFF RAM (PAM), where direct boot has its tables. REQUIRES: Reset, or
  // new.
  Status Program(const Layout& layout);

  Root& root() { return root_; }

 private:
  explicit Q35(const Wiring& wiring);

  IoBus* const ports_bus_;
  Root root_;
  EcamHandler ecam_{&root_};
  ConfigPorts ports_;
  bool ports_mapped_ = false;
};

}  // namespace gemel::pci
