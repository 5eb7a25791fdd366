// The panic port (QEMU's pvpanic, docs/specs/pvpanic.rst): a guest's kernel says here that it has
// died. One byte: reads give what the device understands, a write says what happened.
//
// Not implemented: the shutdown event (bit 2).
#pragma once
#include "vmm/bus/io_handler.h"
#include "vmm/devices/machine_events.h"

namespace gemel {

// Stateless: nothing to reset.
class PvPanic final : public IoHandler {
 public:
  static constexpr std::uint64_t kPorts = 1;
  static constexpr std::uint8_t kPanicked = 1 << 0;
  // It panicked too, but a kernel for that case is loaded, writes a dump and reboots.
  static constexpr std::uint8_t kCrashLoaded = 1 << 1;

  // `events` outlives it.
  explicit PvPanic(MachineEvents* events) : events_(events) {}

  std::string_view name() const override { return "pvpanic"; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override;
  void Write(std::uint64_t offset, std::span<const std::byte> data) override;

 private:
  MachineEvents* const events_;
};

}  // namespace gemel
