// All of a vCPU's state that KVM lets one read and write, in the order that restoring it needs.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/kvm/ioctl.h"

namespace gemel::kvm {

// xsave is KVM_GET_XSAVE's 4 KiB: features that a process must ask the kernel for (AMX) are not
// offered to guests.
struct VcpuState {
  kvm_regs regs{};
  kvm_sregs sregs{};
  kvm_xcrs xcrs{};
  kvm_debugregs debugregs{};
  kvm_lapic_state lapic{};
  kvm_vcpu_events events{};
  kvm_mp_state mp_state{};
  std::vector<kvm_msr_entry> msrs;
  std::vector<std::byte> xsave;
  bool has_lapic = false;
};

// Reads the MSRs of `msr_indices` that this vCPU has, but for the time stamp counter.
Result<VcpuState> ReadVcpuState(int vcpu, std::span<const std::uint32_t> msr_indices);
Status WriteVcpuState(int vcpu, const VcpuState& state);

}  // namespace gemel::kvm
