#include "vmm/kvm/msi_interrupt.h"

#include <poll.h>

#include <utility>

#include "vmm/kvm/ioctl.h"

namespace gemel::kvm {

Result<std::unique_ptr<MsiInterrupt>> IrqfdMsi::Create(int vm, GsiRoutes* routes) {
  ASSIGN_OR_RETURN(EventFd event, EventFd::Create());
  ASSIGN_OR_RETURN(const std::uint32_t gsi, routes->Allocate());
  return std::unique_ptr<MsiInterrupt>(new IrqfdMsi(std::move(event), vm, routes, gsi));
}

IrqfdMsi::~IrqfdMsi() {
  Withdraw();
  routes_->Free(gsi_);
}

Status IrqfdMsi::SetMessage(std::uint64_t address, std::uint32_t data) {
  if (const Status routed = routes_->SetMessage(gsi_, address, data); !routed) {
    Withdraw();
    return routed;
  }
  return Attach();
}

Status IrqfdMsi::Attach() {
  if (attached_) return {};
  kvm_irqfd irqfd{};
  irqfd.fd = static_cast<std::uint32_t>(event_.get());
  irqfd.gsi = gsi_;
  RETURN_IF_ERROR(CheckedIoctl(vm_, KVM_IRQFD, &irqfd, "KVM_IRQFD"));
  attached_ = true;
  // KVM has sent what it found signalled, but leaves the count; from then on it takes what comes
  // (Linux 5.12 and later). So what is left now is what has been sent.
  event_.Drain();
  return {};
}

// Returns when all that KVM had taken is sent (virt/kvm/eventfd.c: deassigning waits for it).
void IrqfdMsi::Withdraw() {
  if (!std::exchange(attached_, false)) return;
  kvm_irqfd irqfd{};
  irqfd.fd = static_cast<std::uint32_t>(event_.get());
  irqfd.gsi = gsi_;
  irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
  Ioctl(vm_, KVM_IRQFD, &irqfd);
}

bool IrqfdMsi::pending() const {
  if (attached_) return false;
  pollfd state{.fd = event_.get(), .events = POLLIN, .revents = 0};
  return poll(&state, 1, 0) == 1;
}

void IrqfdMsi::ClearPending() {
  if (!attached_) event_.Drain();
}

}  // namespace gemel::kvm
