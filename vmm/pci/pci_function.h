// A function on a PCI bus: its configuration registers and what follows from them, which is where
// its BARs are, what its interrupts do, and when it is reset.
//
// A device derives from it, says in its constructor what it has (AddBar, AddMsix …), and
// overrides what it must hear of. Registers that this class looks after:
//   * command: I/O and memory decoding, bus master (MSI-X waits without it), INTx Disable;
//   * BARs, with the sizing protocol; a BAR at address 0 is nowhere, since no firmware puts one there;
//   * Interrupt Status, Interrupt Line and Pin;
//   * power management: D0 and D3hot, where only configuration answers, and no soft reset (state is
//     kept on the way back);
//   * PCI Express: Initiate Function Level Reset;
//   * MSI-X: Enable and Function Mask.
// Not implemented: D1, D2, PME, expansion ROMs, error reporting; clearing bus master stops messages
// but not a device that is reading its rings.
//
// Threads: the Root's lock is around ReadConfig, WriteConfig, Reset and so around all On…
// functions. SetIntx is for any thread.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"
#include "vmm/bus/io_bus.h"
#include "vmm/bus/io_handler.h"
#include "vmm/pci/config_space.h"
#include "vmm/pci/intx.h"
#include "vmm/pci/msix.h"
#include "vmm/pci/pci_registers.h"
#include "vmm/pci/windows.h"

namespace gemel::pci {

// A function's number on its bus: device in bits 7:3, function in 2:0.
struct Devfn {
  std::uint8_t value = 0;
  constexpr unsigned device() const { return value >> 3; }
  constexpr unsigned function() const { return value & 7u; }
};
constexpr Devfn MakeDevfn(unsigned device, unsigned function) {
  return {static_cast<std::uint8_t>(device << 3 | function)};
}

// What the first 64 bytes say for good.
struct Identity {
  enum class Header : std::uint8_t { kEndpoint = 0, kBridge = 1 };
  std::uint16_t vendor = 0;
  std::uint16_t device = 0;
  std::uint8_t revision = 0;
  std::uint32_t class_code = 0;  // base class, sub-class, programming interface: 24 bits
  Header header = Header::kEndpoint;
  bool multifunction = false;
  std::uint16_t subsystem_vendor = 0;  // endpoints only
  std::uint16_t subsystem = 0;
};

enum class BarKind : std::uint8_t { kIo, kMemory32, kMemory64, kMemory64Prefetchable };

class Function {
 public:
  static constexpr unsigned kBars = 6;

  virtual ~Function() = default;
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;

  const std::string& name() const { return name_; }
  bool is_bridge() const { return is_bridge_; }

  // REQUIRES: offset + size <= 4096.
  void ReadConfig(std::size_t offset, std::span<std::byte> data);
  void WriteConfig(std::size_t offset, std::span<const std::byte> data);
  // All registers as at power-on, BARs nowhere, no interrupt; then OnReset.
  void Reset();

  // What a BAR needs, for who assigns addresses; nothing where there is no BAR.
  struct BarInfo {
    BarKind kind;
    std::uint64_t size;
  };
  std::optional<BarInfo> bar(unsigned index) const;

  // Called by the Root when the function joins it and before it goes.
  void Connect(Devfn devfn, Windows* windows, IntxRouter* router, IoBus* memory, IoBus* ports);
  void Disconnect();

 protected:
  Function(std::string name, const Identity& identity);

  // ---- building: from the constructor
  // `size` is a power of two, at least 16 (4 for kIo). A 64-bit BAR takes the next index too. The
  // handler outlives the function's place on the bus.
  void AddBar(unsigned index, BarKind kind, std::uint64_t size, IoHandler* handler);
  // Where the new capability lies; its first two bytes are filled in, the rest is the caller's to
  // Define. They come in the order of the calls.
  std::size_t AddCapability(std::uint8_t id, std::size_t length);
  void AddPowerManagement();
  // An endpoint of the root complex itself, with function level reset.
  void AddIntegratedExpress();
  // Puts the table of `msix`, which outlives the function's place on the bus, into that BAR.
  void AddMsix(unsigned bar, Msix* msix);
  // 0: INTA# to 3: INTD#.
  void AddIntxPin(unsigned pin);

  ConfigSpace& config() { return config_; }
  const ConfigSpace& config() const { return config_; }
  // Holds the pin up or lets go of it. Nothing happens without a pin, or before Connect.
  void SetIntx(bool asserted);
  // The handler of a memory BAR; null if there is none.
  IoHandler* bar_handler(unsigned index) const;
  std::uint64_t bar_size(unsigned index) const;

  // ---- what a derived class may want to know; each does nothing here
  // Before these registers are read, after they were written.
  virtual void OnRead(std::size_t offset, std::size_t size);
  virtual void OnWritten(std::size_t offset, std::size_t size);
  // The BAR is on the bus at this address; it is about to go from there.
  virtual void OnBarMapped(unsigned index, std::uint64_t base);
  virtual void OnBarUnmapped(unsigned index, std::uint64_t base);
  // MSI-X was enabled or disabled, masked or unmasked.
  virtual void OnMsixControl();
  // Power-on or function level reset, after the registers.
  virtual void OnReset();

 private:
  class Bar : public Windows::Observer {
   public:
    void OnMapped(std::uint64_t base) override { function->OnBarMapped(index, base); }
    void OnUnmapped(std::uint64_t base) override { function->OnBarUnmapped(index, base); }

    Function* function = nullptr;
    unsigned index = 0;
    BarKind kind = BarKind::kMemory32;
    std::uint64_t size = 0;             // 0: there is none
    IoHandler* handler = nullptr;       // owned by the derived class
    Windows::Window* window = nullptr;  // the Windows'
  };

  bool FunctionResetWritten(std::size_t offset, std::size_t size);
  void Follow(std::size_t offset, std::size_t size);
  void FollowAll();
  void UpdateBars();
  void UpdateMsix();
  std::uint64_t BarAddress(const Bar& bar) const;
  bool in_d0() const;

  const std::string name_;
  const bool is_bridge_;
  ConfigSpace config_;
  std::array<Bar, kBars> bars_;
  std::size_t next_capability_ = 0x40;
  std::size_t last_capability_ = 0;  // 0: none yet
  std::size_t power_ = 0;            // offsets of capabilities; 0: none
  std::size_t express_ = 0;
  std::size_t msix_offset_ = 0;
  Msix* msix_ = nullptr;  // the derived class's
  std::optional<unsigned> pin_;

  // Set by Connect; the Root's.
  Windows* windows_ = nullptr;
  IntxRouter* router_ = nullptr;
  IntxRouter::Source intx_ = 0;
};

}  // namespace gemel::pci
