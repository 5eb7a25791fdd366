// What is left of the keyboard controller: command 0xFE pulses the processor's reset line.
//
// There is no keyboard, and a driver finds that out fast: the output buffer is always full (bit 0
// of the status register), so emptying it fails, which is how Linux tells an absent controller; the
// input buffer is always empty (bit 1), so nobody waits before a command. Not implemented:
// everything else.
#pragma once
#include "vmm/bus/io_handler.h"
#include "vmm/devices/machine_events.h"

namespace gemel {

// Stateless: nothing to reset.
class I8042 final : public IoHandler {
 public:
  static constexpr std::uint64_t kPorts = 5;  // data at +0, command and status at +4

  // `events` outlives it.
  explicit I8042(MachineEvents* events) : events_(events) {}

  std::string_view name() const override { return "i8042"; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override;
  void Write(std::uint64_t offset, std::span<const std::byte> data) override;

 private:
  MachineEvents* const events_;
};

}  // namespace gemel
