// A message-signalled interrupt (vmm/bus/msi.h): an eventfd that KVM turns into the message while
// it is attached (KVM_IRQFD), and that nobody reads while it is withdrawn. Private to vmm/kvm.
#pragma once
#include <cstdint>
#include <memory>

#include "base/event_fd.h"
#include "base/result.h"
#include "vmm/bus/msi.h"
#include "vmm/kvm/gsi_routes.h"

namespace gemel::kvm {

class IrqfdMsi final : public MsiInterrupt {
 public:
  // `vm` is borrowed; it and `routes` outlive the interrupt.
  static Result<std::unique_ptr<MsiInterrupt>> Create(int vm, GsiRoutes* routes);
  ~IrqfdMsi() override;

  void Trigger() override { event_.Signal(); }
  int event_fd() const override { return event_.get(); }
  Status SetMessage(std::uint64_t address, std::uint32_t data) override;
  void Withdraw() override;
  bool pending() const override;
  void ClearPending() override;

 private:
  IrqfdMsi(EventFd event, int vm, GsiRoutes* routes, std::uint32_t gsi)
      : event_(std::move(event)), vm_(vm), routes_(routes), gsi_(gsi) {}
  Status Attach();

  const EventFd event_;
  const int vm_;
  GsiRoutes* const routes_;
  const std::uint32_t gsi_;
  bool attached_ = false;
};

}  // namespace gemel::kvm
