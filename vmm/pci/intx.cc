#include "vmm/pci/intx.h"

namespace gemel::pci {
namespace {

constexpr std::uint32_t kReservedIrqs = 1u << 0 | 1u << 1 | 1u << 2 | 1u << 8 | 1u << 13;

}  // namespace

IntxRouter::Source IntxRouter::AddSource(unsigned pirq) {
  const MutexLock lock(mutex_);
  pins_.push_back({.pirq = pirq});
  return pins_.size() - 1;
}

void IntxRouter::SetAsserted(Source source, bool asserted) {
  const MutexLock lock(mutex_);
  pins_[source].asserted = asserted;
  UpdateLocked();
}

bool IntxRouter::asserted(Source source) const {
  const MutexLock lock(mutex_);
  return pins_[source].asserted;
}

void IntxRouter::SetDisabled(Source source, bool disabled) {
  const MutexLock lock(mutex_);
  pins_[source].disabled = disabled;
  UpdateLocked();
}

void IntxRouter::SetRoute(unsigned pirq, std::uint8_t route) {
  const MutexLock lock(mutex_);
  routes_[pirq] = route;
  UpdateLocked();
}

void IntxRouter::UpdateLocked() {
  std::uint32_t levels = 0;
  for (const Pin& pin : pins_) {
    if (!pin.asserted || pin.disabled) continue;
    levels |= 1u << (kFirstPirqGsi + pin.pirq);
    const std::uint32_t irq = 1u << (routes_[pin.pirq] & 0xf);
    if ((routes_[pin.pirq] & kRouteDisabled) == 0) levels |= irq & ~kReservedIrqs;
  }
  for (std::uint32_t gsi = 0; gsi < kFirstPirqGsi + kPirqs; ++gsi) {
    if (((levels ^ levels_) >> gsi & 1) != 0) lines_->SetLevel(gsi, (levels >> gsi & 1) != 0);
  }
  levels_ = levels;
}

}  // namespace gemel::pci
