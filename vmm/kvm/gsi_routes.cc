#include "vmm/kvm/gsi_routes.h"

#include <algorithm>

#include "base/check.h"
#include "vmm/kvm/ioctl.h"

namespace gemel::kvm {
namespace {

kvm_irq_routing_entry ToKvm(const IrqRoute& route) {
  kvm_irq_routing_entry entry{};
  entry.gsi = route.gsi;
  if (route.target == IrqRoute::Target::kMessage) {
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = static_cast<std::uint32_t>(route.address);
    entry.u.msi.address_hi = static_cast<std::uint32_t>(route.address >> 32);
    entry.u.msi.data = route.data;
    return entry;
  }
  entry.type = KVM_IRQ_ROUTING_IRQCHIP;
  entry.u.irqchip.pin = route.pin;
  switch (route.target) {
    case IrqRoute::Target::kMasterPic:
      entry.u.irqchip.irqchip = KVM_IRQCHIP_PIC_MASTER;
      break;
    case IrqRoute::Target::kSlavePic:
      entry.u.irqchip.irqchip = KVM_IRQCHIP_PIC_SLAVE;
      break;
    default:
      entry.u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
  }
  return entry;
}

bool IsSet(const IrqRoute& message) { return message.address != 0; }

}  // namespace

Status GsiRoutes::SetLines(std::span<const IrqRoute> lines) {
  const MutexLock lock(mutex_);
  lines_.assign(lines.begin(), lines.end());
  return PublishLocked();
}

Result<std::uint32_t> GsiRoutes::Allocate() {
  const MutexLock lock(mutex_);
  if (lines_.size() + messages_.size() >= limit_)
    return MakeError(Code::kResourceExhausted,
                     fmt::format("message-signalled interrupts: this host's KVM takes {} interrupt "
                                 "routes",
                                 limit_));
  std::uint32_t gsi = kFirstMsiGsi;
  for (const auto& [taken, message] : messages_) {
    if (taken != gsi) break;
    ++gsi;
  }
  messages_[gsi] = {.gsi = gsi, .target = IrqRoute::Target::kMessage};
  return gsi;
}

void GsiRoutes::Free(std::uint32_t gsi) {
  const MutexLock lock(mutex_);
  // What KVM still knows of it goes with the next change: nothing is attached to it any more.
  messages_.erase(gsi);
}

Status GsiRoutes::SetMessage(std::uint32_t gsi, std::uint64_t address, std::uint32_t data) {
  const MutexLock lock(mutex_);
  const auto found = messages_.find(gsi);
  CHECK(found != messages_.end());
  IrqRoute& message = found->second;
  if (message.address == address && message.data == data && IsSet(message)) return {};
  const IrqRoute before = message;
  message.address = address;
  message.data = data;
  const Status published = PublishLocked();
  if (!published) message = before;
  return published;
}

Status GsiRoutes::PublishLocked() {
  std::vector<IrqRoute> routes = lines_;
  for (const auto& [gsi, message] : messages_) {
    if (IsSet(message)) routes.push_back(message);
  }
  WithEntries<kvm_irq_routing, kvm_irq_routing_entry> table(routes.size());
  table.header()->nr = static_cast<std::uint32_t>(routes.size());
  std::ranges::transform(routes, table.entries().begin(), ToKvm);
  RETURN_IF_ERROR(CheckedIoctl(vm_, KVM_SET_GSI_ROUTING, table.header(), "KVM_SET_GSI_ROUTING"));
  return {};
}

}  // namespace gemel::kvm
