// The reset control register of Intel's chip sets (ICH9 data sheet, 13.7.5), which the FADT names
// as RESET_REG: a write that sets RST_CPU (bit 2) resets the machine. SYS_RST and FULL_RST are kept
// without effect, since every reset here is a full one.
#pragma once
#include <atomic>

#include "vmm/bus/io_handler.h"
#include "vmm/devices/machine_events.h"

namespace gemel {

class ResetPort final : public IoHandler {
 public:
  static constexpr std::uint64_t kPorts = 1;
  static constexpr std::uint8_t kResetValue = 0x06;  // for the FADT

  // `events` outlives it.
  explicit ResetPort(MachineEvents* events) : events_(events) {}

  std::string_view name() const override { return "reset-port"; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override;
  void Write(std::uint64_t offset, std::span<const std::byte> data) override;
  void Reset() { value_ = 0; }

 private:
  MachineEvents* const events_;
  std::atomic<std::uint8_t> value_{0};
};

}  // namespace gemel
