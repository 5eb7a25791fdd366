// RAM at 0xC0000-0xFFFFF as the host bridge's PAM registers want it: in 13 pieces, each of which
// the guest may read, write, both or neither. What it may not read is as empty as a socket without a
// ROM: all ones. What it may not write stays as it is.
//
// KVM has memory slots for what can be read: RAM, or read-only RAM. All else comes to the memory bus,
// where this is the handler, and is answered by the registers as they are; so an access of another
// vCPU while slots change is slow and not wrong. Devices reach all of RAM, shown or not.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "vmm/bus/io_handler.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/memory/memory_slots.h"
#include "vmm/pci/chipset.h"

namespace gemel {

class ShadowRam : public pci::ChipsetEvents, public IoHandler {
 public:
  static constexpr MemoryRange kRange{GuestAddress{0xc0000}, 0x40000};

  // Both outlive it; `memory` has RAM in all of kRange, and `slots` shows none of it yet. The range is
  // hidden, and changes are put off until Follow.
  ShadowRam(const GuestMemory* memory, MemorySlots* slots);

  // While firmware's work is done for the guest, and registers change in many steps.
  // REQUIRES of both: no vCPU runs.
  void PutOff() { put_off_ = true; }
  // Does what was put off, and follows each change from now on.
  void Follow();

  void OnPam(const pci::PamRegisters& pam) override;

  std::string_view name() const override { return "shadow-ram"; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override;
  void Write(std::uint64_t offset, std::span<const std::byte> data) override;

 private:
  enum Access : std::uint8_t { kNone = 0, kReads = 1, kWrites = 2, kAll = 3 };
  struct Run {
    MemoryRange range;
    bool read_only = false;
    bool operator==(const Run& other) const;
  };
  static constexpr std::size_t kPieces = 13;

  static std::size_t PieceOf(std::uint64_t offset);
  Access AccessAt(std::uint64_t offset) const;
  std::vector<Run> WantedRuns() const;
  void ShowRuns();

  const GuestMemory* const memory_;
  MemorySlots* const slots_;
  std::array<std::atomic<std::uint8_t>, kPieces> access_{};
  // Under the lock of the PCI root, like the registers; by itself while no vCPU runs.
  std::array<Run, MemorySlots::kSlots> shown_{};  // by slot; a size of 0: nothing
  bool put_off_ = true;
};

}  // namespace gemel
