#include "vmm/devices/reset_port.h"

#include "base/load_le.h"

namespace gemel {
namespace {

constexpr std::uint8_t kResetCpu = 1 << 2;
constexpr std::uint8_t kImplemented = 0x0e;

}  // namespace

void ResetPort::Read(std::uint64_t, std::span<std::byte> data) { StoreRegister(data, value_); }

void ResetPort::Write(std::uint64_t, std::span<const std::byte> data) {
  const auto value = static_cast<std::uint8_t>(LoadRegister(data) & kImplemented);
  value_ = value;
  if ((value & kResetCpu) != 0) events_->OnReset();
}

}  // namespace gemel
