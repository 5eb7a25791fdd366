// The host's KVM: what it can do, and new virtual machines.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/arch/x86/cpuid.h"

namespace gemel::kvm {

class Vm;

struct HostCapabilities {
  std::uint32_t max_vcpus = 0;
  std::uint32_t memory_slots = 0;
  std::uint32_t irq_routes = 0;             // entries that a VM's interrupt routing table may have
  std::uint32_t physical_address_bits = 0;  // that a guest may have
  bool tsc_deadline_timer = false;          // the in-kernel LAPIC has it; CPUID may not say so
  bool x2apic_32bit_ids = false;            // KVM_CAP_X2APIC_API
  bool kvmclock_control = false;
};

class Kvm {
 public:
  // Takes an open /dev/kvm. kFailedPrecondition, naming what is missing, if its API is not version
  // 12 or it lacks something that every machine of ours needs.
  static Result<std::unique_ptr<Kvm>> Create(UniqueFd kvm);

  // KVM binds the VM to this process's memory: call it in the process that runs the guest.
  Result<std::unique_ptr<Vm>> CreateVm() const;

  const HostCapabilities& capabilities() const { return capabilities_; }
  // KVM_GET_SUPPORTED_CPUID: what the host's processor and KVM together can show a guest.
  const std::vector<x86::CpuidEntry>& supported_cpuid() const { return supported_cpuid_; }

 private:
  explicit Kvm(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
  HostCapabilities capabilities_;
  std::vector<x86::CpuidEntry> supported_cpuid_;
};

}  // namespace gemel::kvm
