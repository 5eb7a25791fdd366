// One virtual processor: its KVM descriptor, its registers, and one step of running it.
//
// KVM wants each vCPU used by one thread. Whoever made it sets it up; VcpuThread (vcpu_thread.h)
// then runs it and alone touches it. Only RequestExit may come from elsewhere.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/permit.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/arch/x86/boot_state.h"
#include "vmm/arch/x86/cpuid.h"
#include "vmm/arch/x86/msrs.h"
#include "vmm/bus/io_bus.h"
#include "vmm/memory/guest_memory.h"

struct kvm_run;

namespace gemel::kvm {

struct VcpuState;  // vcpu_state.h

// Why RunOnce came back. The four accesses have been served.
enum class Exit : std::uint8_t {
  kPortRead,
  kPortWrite,
  kMmioRead,
  kMmioWrite,
  // RequestExit or a signal; no access is half done. Or an access that the permit does not allow to
  // be served: it is kept, and served by the next RunOnce that may.
  kInterrupted,
  kTripleFault,  // the vCPU cannot go on
  kSystemReset,  // the guest asked KVM for it
  kSystemShutdown,
  kOther,   // nothing to do; run it again
  kFailed,  // KVM cannot go on; FailureReason says why
};
inline constexpr std::size_t kExitKinds = 10;
// "port-read", …: for counters; never changes.
std::string_view ExitWord(Exit exit);

class Vcpu {
 public:
  ~Vcpu();
  Vcpu(const Vcpu&) = delete;
  Vcpu& operator=(const Vcpu&) = delete;

  std::uint32_t id() const { return id_; }

  Status SetCpuid(std::span<const x86::CpuidEntry> entries);
  // kInvalidArgument, naming the MSR, if KVM refuses one.
  Status SetMsrs(std::span<const x86::Msr> msrs);
  // Makes this vCPU begin as `state` says.
  Status SetBootState(const x86::BootState& state);

  // Remembers everything the guest could change; RestoreInitialState brings it back, for a machine
  // reset. The time stamp counter goes on.
  Status SaveInitialState();
  // REQUIRES: SaveInitialState succeeded, and the vCPU is not running.
  Status RestoreInitialState();

  // Accesses are served only while `permit` holds, which outlives the vCPU. Before the first RunOnce.
  void SetPermit(Permit* permit) { permit_ = permit; }

  // Runs the guest until something happens and serves it.
  Exit RunOnce(const IoBus& ports, const IoBus& memory);
  // Makes RunOnce return kInterrupted as soon as it next waits for the guest, and then again until
  // ClearExitRequest. A vCPU already in the guest needs a signal besides. Any thread.
  void RequestExit();
  void ClearExitRequest();

  // Whether the vCPU has a thread pointer as user programs have them (FS base, lower half). Kernels
  // keep theirs in GS: before the first user program it is 0.
  bool HasUserThreadPointer() const;

  // Tells the guest's kvmclock that it was stopped, so that its watchdogs keep quiet.
  void NotePaused();

  // After kFailed: what KVM said.
  std::string FailureReason() const;
  // Registers and the code bytes around RIP, several lines.
  std::string DumpRegisters() const;

 private:
  friend class Vm;
  Vcpu(UniqueFd fd, std::uint32_t id, kvm_run* run, std::size_t run_size,
       std::vector<std::uint32_t> msrs, const GuestMemory& memory);
  static Result<std::unique_ptr<Vcpu>> Create(int vm, std::uint32_t id, std::size_t run_size,
                                              const std::vector<std::uint32_t>& msrs,
                                              const GuestMemory& memory);
  Exit Serve(const IoBus& ports, const IoBus& memory);
  void DropAccess();
  Exit ServePort(const IoBus& ports);
  Exit ServeMmio(const IoBus& memory);
  Exit ServeSystemEvent() const;
  Status SetUpLocalInterrupts();

  UniqueFd fd_;
  std::uint32_t id_;
  kvm_run* run_;  // shared with the kernel; unmapped by the destructor
  std::size_t run_size_;
  std::vector<std::uint32_t> msr_indices_;
  const GuestMemory& memory_;  // outlives the VM
  std::unique_ptr<VcpuState> initial_state_;
  Permit* permit_ = nullptr;
  bool unserved_ = false;  // the access in run_ waits for the permit
  int run_error_ = 0;      // errno of the last KVM_RUN, when that was the failure
};

}  // namespace gemel::kvm
