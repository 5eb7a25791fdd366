#include "vmm/devices/pm.h"

#include <cstddef>

namespace gemel {
namespace {

// PM1_STS and PM1_EN (ACPI 6.5, tables 4.11 and 4.12).
constexpr std::uint16_t kTimerCarry = 1 << 0;
// Linux enables these two events on every machine that is not hardware-reduced (ACPICA the global
// lock's, rtc_cmos the clock's), and logs an error if the bits do not read back.
constexpr std::uint16_t kGlobalLock = 1 << 5;
constexpr std::uint16_t kPowerButton = 1 << 8;
constexpr std::uint16_t kSleepButton = 1 << 9;
constexpr std::uint16_t kRtc = 1 << 10;
// PM1_CNT (table 4.13).
constexpr std::uint16_t kSciEnable = 1 << 0;
constexpr std::uint16_t kSleepTypeMask = 7 << 10;
constexpr std::uint16_t kSleepEnable = 1 << 13;
constexpr unsigned kSleepTypeShift = 10;

constexpr std::uint64_t kStatus = 0;
constexpr std::uint64_t kEnable = 2;
constexpr std::uint64_t kControl = 4;

std::uint8_t ByteOf(std::uint16_t value, std::uint64_t index) {
  return static_cast<std::uint8_t>(value >> (8 * index));
}

std::uint16_t WithByte(std::uint16_t value, std::uint64_t index, std::uint8_t byte) {
  const unsigned shift = static_cast<unsigned>(8 * index);
  return static_cast<std::uint16_t>((value & ~(0xff << shift)) | byte << shift);
}

}  // namespace

std::uint16_t PowerManagement::StatusLocked() const {
  const bool carried = options_.timer != nullptr && options_.timer->carried();
  return status_ | (carried ? kTimerCarry : 0);
}

void PowerManagement::Read(std::uint64_t offset, std::span<std::byte> data) {
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = std::byte{ReadByteLocked(offset + i)};
}

std::uint8_t PowerManagement::ReadByteLocked(std::uint64_t offset) const {
  if (offset < kEnable) return ByteOf(StatusLocked(), offset - kStatus);
  if (offset < kControl) return ByteOf(enable_, offset - kEnable);
  return ByteOf(control_ | kSciEnable, offset - kControl);
}

void PowerManagement::Write(std::uint64_t offset, std::span<const std::byte> data) {
  bool power_off = false;
  {
    const MutexLock lock(mutex_);
    for (std::size_t i = 0; i < data.size(); ++i)
      WriteByteLocked(offset + i, std::to_integer<std::uint8_t>(data[i]));
    UpdateSciLocked();
    // SLP_EN is write-only: it acts once, on the sleep type as the whole access has left it
    // (4.8.3.2.1).
    if ((control_ & kSleepEnable) != 0) {
      control_ &= static_cast<std::uint16_t>(~kSleepEnable);
      power_off = (control_ & kSleepTypeMask) >> kSleepTypeShift == options_.s5;
    }
  }
  if (power_off) options_.events->OnPowerOff();
}

void PowerManagement::WriteByteLocked(std::uint64_t offset, std::uint8_t value) {
  if (offset < kEnable) {
    ClearStatusLocked(static_cast<std::uint16_t>(value << (8 * offset)));
  } else if (offset < kControl) {
    std::uint16_t kept = kPowerButton | kGlobalLock | kRtc;
    if (options_.sleep_button) kept |= kSleepButton;
    if (options_.timer != nullptr) kept |= kTimerCarry;
    enable_ = WithByte(enable_, offset - kEnable, value) & kept;
  } else {
    control_ = WithByte(control_, offset - kControl, value) & (kSleepTypeMask | kSleepEnable);
  }
}

void PowerManagement::ClearStatusLocked(std::uint16_t bits) {
  status_ &= static_cast<std::uint16_t>(~bits);
  if (options_.timer != nullptr && (bits & kTimerCarry) != 0) options_.timer->ClearCarry();
}

void PowerManagement::UpdateSciLocked() {
  const bool up = (StatusLocked() & enable_) != 0;
  if (up == sci_up_) return;
  sci_up_ = up;
  options_.lines->SetLevel(options_.sci, up);
}

void PowerManagement::PressLocked(std::uint16_t button) {
  status_ |= button;
  UpdateSciLocked();
}

void PowerManagement::PressPowerButton() {
  const MutexLock lock(mutex_);
  PressLocked(kPowerButton);
}

void PowerManagement::PressSleepButton() {
  const MutexLock lock(mutex_);
  if (options_.sleep_button) PressLocked(kSleepButton);
}

void PowerManagement::Reset() {
  const MutexLock lock(mutex_);
  status_ = enable_ = control_ = 0;
  if (options_.timer != nullptr) options_.timer->Reset();
  UpdateSciLocked();
}

}  // namespace gemel
