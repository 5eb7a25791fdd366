#include "vmm/kvm/vcpu.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "vmm/arch/x86/registers.h"
#include "vmm/kvm/ioctl.h"
#include "vmm/kvm/vcpu_state.h"

namespace gemel::kvm {
namespace {

kvm_segment ToKvm(const x86::Segment& segment) {
  kvm_segment result{};
  result.base = segment.base;
  result.limit = segment.limit;
  result.selector = segment.selector;
  result.type = segment.type;
  result.present = segment.present;
  result.dpl = segment.dpl;
  result.db = segment.big;
  result.s = segment.code_or_data;
  result.l = segment.long_mode;
  result.g = segment.granular;
  return result;
}

// The LAPIC's register at `offset` (SDM vol. 3, table 11-1).
void SetLapicRegister(kvm_lapic_state* lapic, std::size_t offset, std::uint32_t value) {
  std::memcpy(lapic->regs + offset, &value, sizeof value);
}

}  // namespace

std::string_view ExitWord(Exit exit) {
  constexpr std::array<std::string_view, kExitKinds> kWords = {
      "port-read",    "port-write",   "mmio-read",       "mmio-write", "interrupted",
      "triple-fault", "system-reset", "system-shutdown", "other",      "failed"};
  return kWords[static_cast<std::size_t>(exit)];
}

Result<std::unique_ptr<Vcpu>> Vcpu::Create(int vm, std::uint32_t id, std::size_t run_size,
                                           const std::vector<std::uint32_t>& msrs,
                                           const GuestMemory& memory) {
  CHECK(run_size >= sizeof(kvm_run));
  ASSIGN_OR_RETURN(const int fd, CheckedIoctl(vm, KVM_CREATE_VCPU, static_cast<unsigned long>(id),
                                              fmt::format("KVM_CREATE_VCPU {}", id)));
  UniqueFd owned(fd);
  // SAFETY: a new mapping of the kernel's kvm_run, page-aligned; unmapped by ~Vcpu.
  void* run = mmap(nullptr, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (run == MAP_FAILED) return ErrnoError(errno, fmt::format("map vCPU {}'s run area", id));
  return std::unique_ptr<Vcpu>(
      new Vcpu(std::move(owned), id, static_cast<kvm_run*>(run), run_size, msrs, memory));
}

Vcpu::Vcpu(UniqueFd fd, std::uint32_t id, kvm_run* run, std::size_t run_size,
           std::vector<std::uint32_t> msrs, const GuestMemory& memory)
    : fd_(std::move(fd)),
      id_(id),
      run_(run),
      run_size_(run_size),
      msr_indices_(std::move(msrs)),
      memory_(memory) {}

Vcpu::~Vcpu() { munmap(run_, run_size_); }

Status Vcpu::SetCpuid(std::span<const x86::CpuidEntry> entries) {
  CpuidList list(entries.size());
  list.header()->nent = static_cast<std::uint32_t>(entries.size());
  std::ranges::transform(entries, list.entries().begin(), [](const x86::CpuidEntry& entry) {
    kvm_cpuid_entry2 result{};
    result.function = entry.function;
    result.index = entry.index;
    result.flags = entry.index_matters ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0u;
    result.eax = entry.eax;
    result.ebx = entry.ebx;
    result.ecx = entry.ecx;
    result.edx = entry.edx;
    return result;
  });
  RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_SET_CPUID2, list.header(), "KVM_SET_CPUID2"));
  return {};
}

Status Vcpu::SetMsrs(std::span<const x86::Msr> msrs) {
  MsrList list(msrs.size());
  list.header()->nmsrs = static_cast<std::uint32_t>(msrs.size());
  std::ranges::transform(msrs, list.entries().begin(), [](const x86::Msr& msr) {
    return kvm_msr_entry{msr.index, 0, msr.value};
  });
  ASSIGN_OR_RETURN(const int set,
                   CheckedIoctl(fd_.get(), KVM_SET_MSRS, list.header(), "KVM_SET_MSRS"));
  const auto done = static_cast<std::size_t>(set);
  if (done == msrs.size()) return {};
  return InvalidArgument("KVM_SET_MSRS: MSR {:#x}: KVM refuses the value {:#x}", msrs[done].index,
                         msrs[done].value);
}

Status Vcpu::SetBootState(const x86::BootState& state) {
  const x86::StartRegisters start = x86::RegistersFor(state);
  kvm_sregs sregs{};
  RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_GET_SREGS, &sregs, "KVM_GET_SREGS"));
  sregs.cs = ToKvm(start.code);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = ToKvm(start.data);
  sregs.tr = ToKvm(start.task);
  sregs.gdt.base = start.gdt.base;
  sregs.gdt.limit = start.gdt.limit;
  sregs.idt.base = start.idt.base;
  sregs.idt.limit = start.idt.limit;
  sregs.cr0 = start.cr0;
  sregs.cr3 = start.cr3;
  sregs.cr4 = start.cr4;
  sregs.efer = start.efer;
  RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_SET_SREGS, &sregs, "KVM_SET_SREGS"));
  kvm_regs regs{};
  regs.rip = start.rip;
  regs.rsp = start.rsp;
  regs.rbp = start.rbp;
  regs.rbx = start.rbx;
  regs.rsi = start.rsi;
  regs.rflags = start.rflags;
  RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_SET_REGS, &regs, "KVM_SET_REGS"));
  return SetUpLocalInterrupts();
}

// As firmware leaves the BSP: the PICs' interrupts arrive at LINT0, NMIs at LINT1 (MultiProcessor
// Specification 1.4, 3.6.2.2, virtual wire mode).
Status Vcpu::SetUpLocalInterrupts() {
  constexpr std::size_t kLint0 = 0x350, kLint1 = 0x360;
  constexpr std::uint32_t kModeNmi = 4 << 8, kModeExtInt = 7 << 8;
  kvm_lapic_state lapic{};
  // A VM without in-kernel interrupt controllers has no LAPIC to set up.
  if (Ioctl(fd_.get(), KVM_GET_LAPIC, &lapic) < 0) return {};
  SetLapicRegister(&lapic, kLint0, kModeExtInt);
  SetLapicRegister(&lapic, kLint1, kModeNmi);
  RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_SET_LAPIC, &lapic, "KVM_SET_LAPIC"));
  return {};
}

Status Vcpu::SaveInitialState() {
  ASSIGN_OR_RETURN(VcpuState state, ReadVcpuState(fd_.get(), msr_indices_));
  initial_state_ = std::make_unique<VcpuState>(std::move(state));
  return {};
}

Status Vcpu::RestoreInitialState() {
  CHECK(initial_state_ != nullptr);
  DropAccess();
  return WriteVcpuState(fd_.get(), *initial_state_);
}

// immediate_exit is read by the kernel as KVM_RUN begins, so that a request made before is not
// lost.
void Vcpu::RequestExit() { __atomic_store_n(&run_->immediate_exit, 1, __ATOMIC_RELEASE); }
void Vcpu::ClearExitRequest() { __atomic_store_n(&run_->immediate_exit, 0, __ATOMIC_RELEASE); }

void Vcpu::NotePaused() {
  // Fails if the guest does not use kvmclock, which is as well.
  Ioctl(fd_.get(), KVM_KVMCLOCK_CTRL, 0);
}

Exit Vcpu::RunOnce(const IoBus& ports, const IoBus& memory) {
  run_error_ = 0;
  if (unserved_) return Serve(ports, memory);
  if (ioctl(fd_.get(), KVM_RUN, 0) < 0) {
    if (errno == EINTR) return Exit::kInterrupted;
    if (errno == EAGAIN) return Exit::kOther;  // an AP got its INIT
    run_error_ = errno;
    return Exit::kFailed;
  }
  switch (run_->exit_reason) {
    case KVM_EXIT_IO:
    case KVM_EXIT_MMIO:
      return Serve(ports, memory);
    case KVM_EXIT_INTR:
      return Exit::kInterrupted;
    case KVM_EXIT_SHUTDOWN:
      return Exit::kTripleFault;
    case KVM_EXIT_SYSTEM_EVENT:
      return ServeSystemEvent();
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return Exit::kOther;
    default:
      return Exit::kFailed;
  }
}

Exit Vcpu::Serve(const IoBus& ports, const IoBus& memory) {
  unserved_ = !Allowed(permit_);
  if (unserved_) return Exit::kInterrupted;
  return run_->exit_reason == KVM_EXIT_IO ? ServePort(ports) : ServeMmio(memory);
}

// KVM finishes an access as it next runs; before new registers are set it must have done so. A wide
// access comes in several parts.
void Vcpu::DropAccess() {
  constexpr int kMostParts = 64;
  if (!std::exchange(unserved_, false)) return;
  RequestExit();
  for (int i = 0; i < kMostParts && ioctl(fd_.get(), KVM_RUN, 0) >= 0; ++i) continue;
  ClearExitRequest();
}

// A string instruction comes as up to a page of `count` accesses to one port.
Exit Vcpu::ServePort(const IoBus& ports) {
  const auto& io = run_->io;
  const std::size_t size = io.size;
  CHECK(size >= 1 && size <= 4 && io.data_offset <= run_size_ &&
        (run_size_ - io.data_offset) / size >= io.count);
  // SAFETY: inside the run area, as just checked; the guest cannot write there.
  auto* const data = reinterpret_cast<std::byte*>(run_) + io.data_offset;
  const bool read = io.direction == KVM_EXIT_IO_IN;
  for (std::uint32_t i = 0; i < io.count; ++i) {
    const std::span<std::byte> access(data + i * size, size);
    if (read) {
      ports.Read(io.port, access);
    } else {
      ports.Write(io.port, access);
    }
  }
  return read ? Exit::kPortRead : Exit::kPortWrite;
}

Exit Vcpu::ServeMmio(const IoBus& memory) {
  auto& mmio = run_->mmio;
  CHECK(mmio.len >= 1 && mmio.len <= sizeof mmio.data);
  const auto access = std::as_writable_bytes(std::span(mmio.data)).first(mmio.len);
  if (mmio.is_write != 0) {
    memory.Write(mmio.phys_addr, access);
    return Exit::kMmioWrite;
  }
  memory.Read(mmio.phys_addr, access);
  return Exit::kMmioRead;
}

Exit Vcpu::ServeSystemEvent() const {
  switch (run_->system_event.type) {
    case KVM_SYSTEM_EVENT_RESET:
      return Exit::kSystemReset;
    case KVM_SYSTEM_EVENT_SHUTDOWN:
      return Exit::kSystemShutdown;
    default:
      return Exit::kFailed;
  }
}

}  // namespace gemel::kvm
