#include "vmm/devices/ich9_pm.h"

#include <algorithm>
#include <cstddef>

namespace gemel {
namespace {

constexpr std::uint64_t kTimerBytes = 4;
constexpr std::uint64_t kGpe0Enable = Ich9Pm::kGpe0 + Ich9Pm::kGpe0Size / 2;

PowerManagement::Options WithTimer(PowerManagement::Options options, PmTimer* timer) {
  options.timer = timer;
  return options;
}

// How much of an access of `size` bytes at `offset` lies before `end`.
std::size_t Before(std::uint64_t end, std::uint64_t offset, std::size_t size) {
  return offset >= end ? 0 : std::min<std::uint64_t>(size, end - offset);
}

}  // namespace

Ich9Pm::Ich9Pm(PowerManagement::Options options, const Clock* clock)
    : timer_(clock), pm1_(WithTimer(options, &timer_)) {}

void Ich9Pm::Read(std::uint64_t offset, std::span<std::byte> data) {
  if (offset >= kTimer && offset < kTimer + kTimerBytes) {
    // One reading for all bytes of the access.
    const std::uint32_t count = timer_.count();
    for (std::size_t i = 0; i < data.size(); ++i) {
      const std::uint64_t at = offset - kTimer + i;
      data[i] = static_cast<std::byte>(at < kTimerBytes ? count >> (8 * at) : 0);
    }
    return;
  }
  const std::size_t in_pm1 = Before(PowerManagement::kPorts, offset, data.size());
  if (in_pm1 > 0) pm1_.Read(offset, data.first(in_pm1));
  for (std::size_t i = in_pm1; i < data.size(); ++i) data[i] = std::byte{ReadByte(offset + i)};
}

std::uint8_t Ich9Pm::ReadByte(std::uint64_t offset) {
  if (offset < kGpe0Enable || offset >= kGpe0 + kGpe0Size) return 0;
  const MutexLock lock(mutex_);
  return gpe0_enable_[offset - kGpe0Enable];
}

void Ich9Pm::Write(std::uint64_t offset, std::span<const std::byte> data) {
  const std::size_t in_pm1 = Before(PowerManagement::kPorts, offset, data.size());
  if (in_pm1 > 0) pm1_.Write(offset, data.first(in_pm1));
  const MutexLock lock(mutex_);
  for (std::size_t i = in_pm1; i < data.size(); ++i) {
    const std::uint64_t at = offset + i;
    if (at >= kGpe0Enable && at < kGpe0 + kGpe0Size)
      gpe0_enable_[at - kGpe0Enable] = std::to_integer<std::uint8_t>(data[i]);
  }
}

void Ich9Pm::Reset() {
  pm1_.Reset();
  const MutexLock lock(mutex_);
  gpe0_enable_.fill(0);
}

}  // namespace gemel
