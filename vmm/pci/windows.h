// Ranges of address space that a guest moves: BARs, the ECAM, the PM block.
//
// A window is wanted at an address or not at all. It is there (on its IoBus) if nothing else is:
// who comes first stays, and a window that found its place taken gets it when it becomes free, in
// the order of Add. A real bus would let both answer; no guest gains anything by it here.
// RAM is not on the bus: a window moved onto it is there, but KVM sends no access its way.
//
// Not thread-safe: under the lock of the Root that owns it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "vmm/bus/io_bus.h"
#include "vmm/bus/io_handler.h"

namespace gemel::pci {

class Windows {
 public:
  // Told when the window appears and before it goes; for what else depends on its address.
  class Observer {
   public:
    virtual ~Observer() = default;
    virtual void OnMapped(std::uint64_t base) = 0;
    virtual void OnUnmapped(std::uint64_t base) = 0;
  };
  class Window;

  Windows();
  ~Windows();
  Windows(const Windows&) = delete;
  Windows& operator=(const Windows&) = delete;

  // A window that is wanted nowhere yet. All three outlive the Windows, or the window is Removed
  // before; `observer` may be null. The window belongs to the Windows.
  Window* Add(IoBus* bus, IoHandler* handler, Observer* observer);
  void Remove(Window* window);

  void Place(Window* window, std::uint64_t base, std::uint64_t size);
  void Hide(Window* window);
  // Where it is on the bus; false if it is not.
  static bool IsMapped(const Window* window);

 private:
  static void Unmap(Window* window);
  void MapAll();

  std::vector<std::unique_ptr<Window>> windows_;
};

// Its fields are the Windows' own.
class Windows::Window {
 private:
  friend class Windows;
  IoBus* bus = nullptr;
  IoHandler* handler = nullptr;
  Observer* observer = nullptr;
  bool wanted = false;
  bool mapped = false;
  std::uint64_t base = 0;
  std::uint64_t size = 0;
};

}  // namespace gemel::pci
