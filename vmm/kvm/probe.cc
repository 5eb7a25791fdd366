#include "vmm/kvm/probe.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <optional>
#include <utility>

#include "base/load_le.h"
#include "base/mutex.h"
#include "vmm/kvm/capabilities.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/probe_guests.h"
#include "vmm/kvm/vcpu_thread.h"
#include "vmm/kvm/vm.h"

namespace gemel::kvm {
namespace {

constexpr std::uint64_t kRam = 64 << 10;
constexpr std::uint64_t kPml4 = 0x1000, kPdpt = 0x2000, kPd = 0x3000;
constexpr auto kLimit = std::chrono::milliseconds(500);

// Waits for what one probe guest does. The guest writes the port, or the vCPU reports.
class Watcher : public IoHandler, public VcpuEvents {
 public:
  // Empty when it passed; what happened instead otherwise.
  std::string Wait() EXCLUDES(mutex_) {
    const auto deadline = std::chrono::steady_clock::now() + kLimit;
    const MutexLock lock(mutex_);
    while (!outcome_) {
      if (changed_.wait_until(mutex_, deadline) == std::cv_status::timeout) break;
    }
    return outcome_.value_or("it did not end in time");
  }

  std::string_view name() const override { return "probe"; }
  void Read(std::uint64_t, std::span<std::byte> data) override { StoreRegister(data, 0); }
  void Write(std::uint64_t, std::span<const std::byte> data) override {
    Finish(LoadRegister(data) == kProbePass ? "" : "it computed a wrong result");
  }
  void OnTripleFault(std::uint32_t, std::string) override { Finish("it ended in a triple fault"); }
  void OnFailure(std::uint32_t, std::string reason, std::string) override {
    Finish(std::move(reason));
  }
  void OnSystemReset(std::uint32_t) override { Finish("KVM reset it"); }
  void OnSystemShutdown(std::uint32_t) override { Finish("KVM shut it down"); }

 private:
  void Finish(std::string outcome) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    if (!outcome_) outcome_ = std::move(outcome);
    changed_.notify_all();
  }

  Mutex mutex_;
  std::condition_variable_any changed_;
  std::optional<std::string> outcome_ GUARDED_BY(mutex_);
};

// One 2 MiB page at 0, present, writable, allowed in user mode.
x86::BootState LoadProbe(const GuestMemory& memory, std::span<const std::byte> code) {
  constexpr std::uint64_t kTable = 0x7, kLargePage = 0x87;
  CHECK(memory.Write<std::uint64_t>(GuestAddress{kPml4}, kPdpt | kTable).has_value());
  CHECK(memory.Write<std::uint64_t>(GuestAddress{kPdpt}, kPd | kTable).has_value());
  CHECK(memory.Write<std::uint64_t>(GuestAddress{kPd}, kLargePage).has_value());
  CHECK(memory.WriteBytes(GuestAddress{kProbeCode}, code).has_value());
  x86::BootState boot;
  boot.mode = x86::BootState::Mode::kLong64;
  boot.entry = kProbeCode;
  boot.stack = kProbeCode;
  boot.page_tables = kPml4;
  return boot;
}

Result<std::string> RunProbe(const Kvm& kvm, std::span<const std::byte> code) {
  const MemoryRange ram{GuestAddress{0}, kRam};
  ASSIGN_OR_RETURN(const std::unique_ptr<GuestMemory> memory,
                   GuestMemory::Create(std::span(&ram, 1), MemoryBacking::kAnonymous));
  ASSIGN_OR_RETURN(const std::unique_ptr<Vm> vm, kvm.CreateVm());
  RETURN_IF_ERROR(vm->SetMemory(*memory));
  RETURN_IF_ERROR(vm->CreateIrqchip());
  ASSIGN_OR_RETURN(std::unique_ptr<Vcpu> vcpu, vm->CreateVcpu(0));
  RETURN_IF_ERROR(vcpu->SetCpuid(kvm.supported_cpuid()));
  RETURN_IF_ERROR(vcpu->SetBootState(LoadProbe(*memory, code)));
  Watcher watcher;
  IoBus ports, mmio;
  RETURN_IF_ERROR(ports.Map(kProbePort, 1, &watcher));
  ASSIGN_OR_RETURN(const std::unique_ptr<VcpuThread> thread,
                   VcpuThread::Start(std::move(vcpu), {&ports, &mmio, &watcher}));
  thread->Resume();
  return watcher.Wait();
}

Status RunProbes(const Kvm& kvm, KvmProbe* probe) {
  for (const ProbeGuestImage& image : ProbeGuestImages()) {
    ASSIGN_OR_RETURN(const std::string failure, RunProbe(kvm, image.code));
    probe->guests.push_back({image.name, failure.empty(), failure});
    if (!failure.empty()) probe->missing.emplace_back(image.missing);
  }
  return {};
}

void ListCapabilities(int fd, KvmProbe* probe) {
  probe->max_vcpus = static_cast<std::uint32_t>(CheckCapability(fd, KVM_CAP_MAX_VCPUS));
  probe->recommended_vcpus = static_cast<std::uint32_t>(CheckCapability(fd, KVM_CAP_NR_VCPUS));
  probe->memory_slots = static_cast<std::uint32_t>(CheckCapability(fd, KVM_CAP_NR_MEMSLOTS));
  for (const Capability& capability : KnownCapabilities()) {
    const bool present = CheckCapability(fd, capability.number) > 0;
    probe->capabilities.push_back({capability.name, capability.required, present});
    if (present || !capability.required) continue;
    probe->missing.push_back(fmt::format("This host's KVM lacks: {}.", capability.name));
  }
}

}  // namespace

Result<KvmProbe> ProbeKvm(int kvm_fd) {
  KvmProbe probe;
  ASSIGN_OR_RETURN(probe.api_version, CheckedIoctl(kvm_fd, KVM_GET_API_VERSION, 0, "/dev/kvm"));
  ListCapabilities(kvm_fd, &probe);
  if (probe.api_version != KVM_API_VERSION)
    probe.missing.push_back(fmt::format("This host's KVM has API version {}, not {}.",
                                        probe.api_version, KVM_API_VERSION));
  if (!probe.missing.empty()) return probe;
  UniqueFd own(fcntl(kvm_fd, F_DUPFD_CLOEXEC, 0));
  if (!own) return ErrnoError(errno, "/dev/kvm");
  ASSIGN_OR_RETURN(const std::unique_ptr<Kvm> kvm, Kvm::Create(std::move(own)));
  probe.physical_address_bits = kvm->capabilities().physical_address_bits;
  RETURN_IF_ERROR(RunProbes(*kvm, &probe));
  probe.runs_unmodified_os = probe.missing.empty();
  return probe;
}

}  // namespace gemel::kvm
