#include "vmm/kvm/vcpu_state.h"

#include <algorithm>

#include "vmm/arch/x86/msrs.h"

namespace gemel::kvm {
namespace {

// KVM lists MSRs that this vCPU's CPUID may not have; KVM_GET_MSRS stops at the first it cannot
// read.
Result<std::vector<kvm_msr_entry>> ReadMsrs(int vcpu, std::span<const std::uint32_t> indices) {
  std::vector<kvm_msr_entry> msrs;
  while (!indices.empty()) {
    MsrList list(indices.size());
    list.header()->nmsrs = static_cast<std::uint32_t>(indices.size());
    std::ranges::transform(indices, list.entries().begin(),
                           [](std::uint32_t index) { return kvm_msr_entry{index, 0, 0}; });
    ASSIGN_OR_RETURN(const int read,
                     CheckedIoctl(vcpu, KVM_GET_MSRS, list.header(), "KVM_GET_MSRS"));
    const auto count = std::min(static_cast<std::size_t>(read), indices.size());
    const auto got = list.entries().first(count);
    std::ranges::copy_if(got, std::back_inserter(msrs),
                         [](const kvm_msr_entry& msr) { return msr.index != x86::kMsrTsc; });
    indices = indices.subspan(std::min(count + 1, indices.size()));
  }
  return msrs;
}

// An MSR that refuses its own initial value is skipped: some can only be read.
Status WriteMsrs(int vcpu, std::span<const kvm_msr_entry> msrs) {
  while (!msrs.empty()) {
    MsrList list(msrs.size());
    list.header()->nmsrs = static_cast<std::uint32_t>(msrs.size());
    std::ranges::copy(msrs, list.entries().begin());
    ASSIGN_OR_RETURN(const int set,
                     CheckedIoctl(vcpu, KVM_SET_MSRS, list.header(), "KVM_SET_MSRS"));
    msrs = msrs.subspan(std::min(static_cast<std::size_t>(set) + 1, msrs.size()));
  }
  return {};
}

}  // namespace

Result<VcpuState> ReadVcpuState(int vcpu, std::span<const std::uint32_t> msr_indices) {
  VcpuState state;
  // First, since reading it makes KVM digest a pending INIT or SIPI.
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_GET_MP_STATE, &state.mp_state, "KVM_GET_MP_STATE"));
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_GET_REGS, &state.regs, "KVM_GET_REGS"));
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_GET_SREGS, &state.sregs, "KVM_GET_SREGS"));
  state.xsave.resize(sizeof(kvm_xsave));
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_GET_XSAVE, state.xsave.data(), "KVM_GET_XSAVE"));
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_GET_XCRS, &state.xcrs, "KVM_GET_XCRS"));
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_GET_DEBUGREGS, &state.debugregs, "KVM_GET_DEBUGREGS"));
  state.has_lapic = Ioctl(vcpu, KVM_GET_LAPIC, &state.lapic) == 0;
  ASSIGN_OR_RETURN(state.msrs, ReadMsrs(vcpu, msr_indices));
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_GET_VCPU_EVENTS, &state.events, "KVM_GET_VCPU_EVENTS"));
  return state;
}

Status WriteVcpuState(int vcpu, const VcpuState& saved) {
  VcpuState state = saved;  // KVM's interface is not const
  // Digests an INIT or SIPI that another vCPU sent just before the reset, see ReadVcpuState.
  kvm_mp_state ignored{};
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_GET_MP_STATE, &ignored, "KVM_GET_MP_STATE"));
  // The LAPIC's mode comes from the APIC base in sregs, so sregs go first; the TSC-deadline MSR
  // only takes effect in a LAPIC timer of that mode, so MSRs follow the LAPIC.
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_SET_SREGS, &state.sregs, "KVM_SET_SREGS"));
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_SET_REGS, &state.regs, "KVM_SET_REGS"));
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_SET_XCRS, &state.xcrs, "KVM_SET_XCRS"));
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_SET_XSAVE, state.xsave.data(), "KVM_SET_XSAVE"));
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_SET_DEBUGREGS, &state.debugregs, "KVM_SET_DEBUGREGS"));
  if (state.has_lapic)
    RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_SET_LAPIC, &state.lapic, "KVM_SET_LAPIC"));
  RETURN_IF_ERROR(WriteMsrs(vcpu, state.msrs));
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_SET_VCPU_EVENTS, &state.events, "KVM_SET_VCPU_EVENTS"));
  RETURN_IF_ERROR(CheckedIoctl(vcpu, KVM_SET_MP_STATE, &state.mp_state, "KVM_SET_MP_STATE"));
  return {};
}

}  // namespace gemel::kvm
