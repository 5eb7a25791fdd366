#include "vmm/devices/pvpanic.h"

#include "base/load_le.h"

namespace gemel {

void PvPanic::Read(std::uint64_t, std::span<std::byte> data) {
  StoreRegister(data, kPanicked | kCrashLoaded);
}

void PvPanic::Write(std::uint64_t, std::span<const std::byte> data) {
  const auto event = static_cast<std::uint8_t>(LoadRegister(data));
  if ((event & kPanicked) != 0) return events_->OnPanic(MachineEvents::Panic::kDead);
  if ((event & kCrashLoaded) != 0) events_->OnPanic(MachineEvents::Panic::kDumping);
}

}  // namespace gemel
