#include "vmm/kvm/kvm.h"

#include <algorithm>
#include <string>

#include "vmm/kvm/capabilities.h"
#include "vmm/kvm/ioctl.h"
#include "vmm/kvm/vm.h"

namespace gemel::kvm {
namespace {

Status CheckRequirements(int fd) {
  ASSIGN_OR_RETURN(const int version, CheckedIoctl(fd, KVM_GET_API_VERSION, 0, "/dev/kvm"));
  if (version != KVM_API_VERSION)
    return FailedPrecondition("this host's KVM has API version {}, not {}", version,
                              KVM_API_VERSION);
  std::string missing;
  for (const Capability& capability : KnownCapabilities()) {
    if (!capability.required || CheckCapability(fd, capability.number) > 0) continue;
    if (!missing.empty()) missing += ", ";
    missing += capability.name;
  }
  if (!missing.empty()) return FailedPrecondition("this host's KVM lacks: {}", missing);
  return {};
}

Result<std::vector<x86::CpuidEntry>> ReadSupportedCpuid(int fd) {
  constexpr std::uint32_t kMost = 4096;
  for (std::uint32_t room = 128; room <= kMost; room *= 2) {
    CpuidList list(room);
    list.header()->nent = room;
    if (Ioctl(fd, KVM_GET_SUPPORTED_CPUID, list.header()) == 0) {
      std::vector<x86::CpuidEntry> entries;
      for (const kvm_cpuid_entry2& e : list.entries().first(std::min(room, list.header()->nent))) {
        const bool index_matters = (e.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0;
        entries.push_back({e.function, e.index, index_matters, e.eax, e.ebx, e.ecx, e.edx});
      }
      return entries;
    }
    if (errno != E2BIG) return ErrnoError(errno, "KVM_GET_SUPPORTED_CPUID");
  }
  return Internal("KVM_GET_SUPPORTED_CPUID: more than {} entries", kMost);
}

// CPUID 0x80000008 EAX[7:0]; processors without the leaf have 36 (SDM vol. 3, 4.1.4).
std::uint32_t PhysicalAddressBits(const std::vector<x86::CpuidEntry>& cpuid) {
  const auto leaf = std::ranges::find(cpuid, 0x80000008u, &x86::CpuidEntry::function);
  const std::uint32_t bits = leaf == cpuid.end() ? 0 : leaf->eax & 0xff;
  return bits == 0 ? 36 : bits;
}

}  // namespace

Result<std::unique_ptr<Kvm>> Kvm::Create(UniqueFd kvm) {
  RETURN_IF_ERROR(CheckRequirements(kvm.get()));
  std::unique_ptr<Kvm> result(new Kvm(std::move(kvm)));
  const int fd = result->fd_.get();
  ASSIGN_OR_RETURN(result->supported_cpuid_, ReadSupportedCpuid(fd));
  HostCapabilities& caps = result->capabilities_;
  // Without KVM_CAP_MAX_VCPUS the recommended number, without that 4
  // (Documentation/virt/kvm/api.rst, 4.7).
  const int most = CheckCapability(fd, KVM_CAP_MAX_VCPUS);
  const int recommended = CheckCapability(fd, KVM_CAP_NR_VCPUS);
  caps.max_vcpus = static_cast<std::uint32_t>(most > 0 ? most : recommended > 0 ? recommended : 4);
  caps.memory_slots =
      static_cast<std::uint32_t>(std::max(CheckCapability(fd, KVM_CAP_NR_MEMSLOTS), 32));
  caps.irq_routes = static_cast<std::uint32_t>(CheckCapability(fd, KVM_CAP_IRQ_ROUTING));
  caps.physical_address_bits = PhysicalAddressBits(result->supported_cpuid_);
  caps.tsc_deadline_timer = CheckCapability(fd, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
  caps.x2apic_32bit_ids = CheckCapability(fd, KVM_CAP_X2APIC_API) > 0;
  caps.kvmclock_control = CheckCapability(fd, KVM_CAP_KVMCLOCK_CTRL) > 0;
  return result;
}

Result<std::unique_ptr<Vm>> Kvm::CreateVm() const {
  ASSIGN_OR_RETURN(const int fd, CheckedIoctl(fd_.get(), KVM_CREATE_VM, 0, "KVM_CREATE_VM"));
  UniqueFd vm(fd);
  ASSIGN_OR_RETURN(const int run_size,
                   CheckedIoctl(fd_.get(), KVM_GET_VCPU_MMAP_SIZE, 0, "KVM_GET_VCPU_MMAP_SIZE"));
  std::vector<std::uint32_t> msrs;
  {
    kvm_msr_list probe{};
    // Fails with E2BIG and the number there are.
    if (Ioctl(fd_.get(), KVM_GET_MSR_INDEX_LIST, &probe) < 0 && errno != E2BIG)
      return ErrnoError(errno, "KVM_GET_MSR_INDEX_LIST");
    WithEntries<kvm_msr_list, std::uint32_t> list(probe.nmsrs);
    list.header()->nmsrs = probe.nmsrs;
    RETURN_IF_ERROR(
        CheckedIoctl(fd_.get(), KVM_GET_MSR_INDEX_LIST, list.header(), "KVM_GET_MSR_INDEX_LIST"));
    const auto entries = list.entries();
    msrs.assign(entries.begin(), entries.end());
  }
  return std::unique_ptr<Vm>(
      new Vm(std::move(vm), static_cast<std::size_t>(run_size), capabilities_, std::move(msrs)));
}

}  // namespace gemel::kvm
