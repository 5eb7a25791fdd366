// The root complex: bus 0 with its functions, and the way of a configuration access to them.
//
// The buses behind root ports are empty, so that whatever is not on bus 0 is not there: reads give
// ones, writes go nowhere, as when nobody answers (PCIe 2.3.2: Unsupported Request, which a root
// complex turns into ones).
//
// One lock is around all configuration registers of the machine; configuration is no fast path.
// Under it BARs come and go on the IoBuses, and with them ioeventfds.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/mutex.h"
#include "base/result.h"
#include "vmm/bus/io_bus.h"
#include "vmm/bus/irq_lines.h"
#include "vmm/pci/intx.h"
#include "vmm/pci/pci_function.h"
#include "vmm/pci/windows.h"

namespace gemel::pci {

// Where a configuration access goes.
struct ConfigAddress {
  std::uint8_t bus = 0;
  Devfn devfn;
  std::uint16_t offset = 0;  // below 4096
};

class Root {
 public:
  // All outlive it.
  Root(IoBus* memory, IoBus* ports, IrqLines* lines);
  // REQUIRES: no vCPU runs any more.
  ~Root();
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;

  // Puts the function on bus 0. kAlreadyExists if there is one. Before vCPUs run.
  Status Attach(Devfn devfn, std::unique_ptr<Function> function) EXCLUDES(mutex_);

  // Any thread, any width and alignment. REQUIRES: offset + size <= 4096.
  void ReadConfig(ConfigAddress address, std::span<std::byte> data) EXCLUDES(mutex_);
  void WriteConfig(ConfigAddress address, std::span<const std::byte> data) EXCLUDES(mutex_);
  // For programming by the host.
  template <class T>
  T Get(ConfigAddress address) {
    std::array<std::byte, sizeof(T)> data;
    ReadConfig(address, data);
    return LoadLe<T>(data);
  }
  template <class T>
  void Set(ConfigAddress address, T value) {
    std::array<std::byte, sizeof(T)> data;
    StoreLe(std::span(data), 0, value);
    WriteConfig(address, data);
  }

  // Every function as at power-on.
  void Reset() EXCLUDES(mutex_);

  // The function there, or null. Constant once vCPUs run; its registers are behind the lock.
  const Function* function(Devfn devfn) const { return functions_[devfn.value].get(); }

  // For chipset functions, which move windows of their own: under the lock, as in their OnWritten.
  Windows& windows() { return windows_; }
  IntxRouter& intx() { return intx_; }

 private:
  Function* Find(const ConfigAddress& address) const;

  IoBus* const memory_;
  IoBus* const ports_;
  IntxRouter intx_;
  Mutex mutex_;
  Windows windows_;
  std::array<std::unique_ptr<Function>, 256> functions_;  // by devfn; set before vCPUs run
};

}  // namespace gemel::pci
