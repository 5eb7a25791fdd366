#include "vmm/kvm/capabilities.h"

#include <algorithm>

namespace gemel::kvm {
namespace {

constexpr Capability kCapabilities[] = {
    {KVM_CAP_USER_MEMORY, "guest memory of this process", true},
    {KVM_CAP_IRQCHIP, "in-kernel interrupt controllers", true},
    {KVM_CAP_PIT2, "in-kernel timer (PIT)", true},
    {KVM_CAP_PIT_STATE2, "in-kernel timer's state", true},
    {KVM_CAP_IRQ_ROUTING, "interrupt routing", true},
    {KVM_CAP_IRQFD, "interrupts by eventfd (irqfd)", true},
    {KVM_CAP_IOEVENTFD, "guest writes by eventfd (ioeventfd)", true},
    {KVM_CAP_IOEVENTFD_ANY_LENGTH, "ioeventfd for any width", true},
    {KVM_CAP_IMMEDIATE_EXIT, "immediate exit", true},
    {KVM_CAP_EXT_CPUID, "CPUID", true},
    {KVM_CAP_SET_TSS_ADDR, "TSS address", true},
    {KVM_CAP_SET_IDENTITY_MAP_ADDR, "identity map address", true},
    {KVM_CAP_MP_STATE, "multiprocessor state", true},
    {KVM_CAP_VCPU_EVENTS, "vCPU events", true},
    {KVM_CAP_DEBUGREGS, "debug registers", true},
    {KVM_CAP_XSAVE, "XSAVE state", true},
    {KVM_CAP_XCRS, "extended control registers", true},
    {KVM_CAP_SIGNAL_MSI, "message-signalled interrupts (MSI)", false},
    {KVM_CAP_SPLIT_IRQCHIP, "split interrupt controllers", false},
    {KVM_CAP_TSC_DEADLINE_TIMER, "TSC-deadline timer", false},
    {KVM_CAP_ADJUST_CLOCK, "adjustable kvmclock", false},
    {KVM_CAP_TSC_CONTROL, "TSC scaling", false},
    {KVM_CAP_X2APIC_API, "32-bit x2APIC ids", false},
    {KVM_CAP_READONLY_MEM, "read-only memory slots", false},
    {KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, "dirty log", false},
    {KVM_CAP_DIRTY_LOG_RING, "dirty ring", false},
};

}  // namespace

std::span<const Capability> KnownCapabilities() { return kCapabilities; }

int CheckCapability(int kvm_fd, int capability) {
  return std::max(Ioctl(kvm_fd, KVM_CHECK_EXTENSION, capability), 0);
}

}  // namespace gemel::kvm
