// What a person needs to see when a vCPU cannot go on: why, its registers, and the code it was at.

#include <array>

#include "vmm/kvm/ioctl.h"
#include "vmm/kvm/vcpu.h"

namespace gemel::kvm {
namespace {

std::string InternalErrorText(const kvm_run& run) {
  const std::uint32_t suberror = run.internal.suberror;
  std::string text = fmt::format("KVM internal error {}", suberror);
  switch (suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
      text += ": KVM has to emulate this instruction and cannot";
      break;
    case KVM_INTERNAL_ERROR_SIMUL_EX:
      text += ": an exception while delivering another";
      break;
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
      text += ": an exit while delivering an event";
      break;
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
      text += ": an exit that KVM does not know";
      break;
    default:
      break;
  }
  const std::uint32_t count = run.internal.ndata < 16 ? run.internal.ndata : 16;
  for (std::uint32_t i = 0; i < count; ++i) {
    text += fmt::format("{}{:#x}", i == 0 ? "; data " : " ", run.internal.data[i]);
  }
  return text;
}

std::string SegmentText(const char* name, const kvm_segment& s) {
  return fmt::format("{} {:04x} base {:016x} limit {:08x} type {:x} s{} dpl{} p{} l{} d{} g{}\n",
                     name, s.selector, s.base, s.limit, s.type, s.s, s.dpl, s.present, s.l, s.db,
                     s.g);
}

std::string GeneralText(const kvm_regs& r) {
  return fmt::format(
      "rip {:016x} rflags {:08x}\n"
      "rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}\n"
      "rsi {:016x} rdi {:016x} rsp {:016x} rbp {:016x}\n"
      "r8  {:016x} r9  {:016x} r10 {:016x} r11 {:016x}\n"
      "r12 {:016x} r13 {:016x} r14 {:016x} r15 {:016x}\n",
      r.rip, r.rflags, r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, r.rbp, r.r8, r.r9, r.r10,
      r.r11, r.r12, r.r13, r.r14, r.r15);
}

std::string SystemText(const kvm_sregs& s) {
  std::string text =
      fmt::format("cr0 {:08x} cr2 {:016x} cr3 {:016x} cr4 {:08x} efer {:08x} apic base {:x}\n",
                  s.cr0, s.cr2, s.cr3, s.cr4, s.efer, s.apic_base);
  text += SegmentText("cs ", s.cs) + SegmentText("ds ", s.ds) + SegmentText("es ", s.es) +
          SegmentText("ss ", s.ss) + SegmentText("fs ", s.fs) + SegmentText("gs ", s.gs) +
          SegmentText("tr ", s.tr);
  return text + fmt::format("gdt {:016x} limit {:04x}  idt {:016x} limit {:04x}\n", s.gdt.base,
                            s.gdt.limit, s.idt.base, s.idt.limit);
}

// The bytes around `rip`, the one it points at in <>; ?? where no guest RAM is mapped.
std::string CodeText(int vcpu, const GuestMemory& memory, std::uint64_t rip) {
  constexpr std::uint64_t kBefore = 16, kAfter = 24;
  std::string text = "code";
  for (std::uint64_t at = rip - kBefore; at != rip + kAfter; ++at) {
    kvm_translation translation{};
    translation.linear_address = at;
    std::string byte = "??";
    if (Ioctl(vcpu, KVM_TRANSLATE, &translation) == 0 && translation.valid != 0) {
      const auto value = memory.Read<std::uint8_t>(GuestAddress{translation.physical_address});
      if (value) byte = fmt::format("{:02x}", *value);
    }
    text += at == rip ? fmt::format(" <{}>", byte) : ' ' + byte;
  }
  return text;
}

// After a triple fault AMD's processors leave nothing, and KVM puts the vCPU into its INIT state.
bool LooksLikeInit(const kvm_regs& regs, const kvm_sregs& sregs) {
  return regs.rip == 0xfff0 && sregs.cs.selector == 0xf000;
}

}  // namespace

std::string Vcpu::FailureReason() const {
  if (run_error_ != 0) return fmt::format("KVM_RUN: {}", std::strerror(run_error_));
  switch (run_->exit_reason) {
    case KVM_EXIT_INTERNAL_ERROR:
      return InternalErrorText(*run_);
    case KVM_EXIT_FAIL_ENTRY:
      return fmt::format("the processor refuses this vCPU's state: hardware reason {:#x}",
                         run_->fail_entry.hardware_entry_failure_reason);
    case KVM_EXIT_UNKNOWN:
      return fmt::format("KVM does not know the processor's exit reason {:#x}",
                         run_->hw.hardware_exit_reason);
    case KVM_EXIT_SYSTEM_EVENT:
      return fmt::format("the guest crashed: system event {}", run_->system_event.type);
    case KVM_EXIT_HLT:
      return "halted with no interrupt controller that could wake it";
    default:
      return fmt::format("KVM exit {} was not expected", run_->exit_reason);
  }
}

std::string Vcpu::DumpRegisters() const {
  kvm_regs regs{};
  kvm_sregs sregs{};
  if (Ioctl(fd_.get(), KVM_GET_REGS, &regs) < 0 || Ioctl(fd_.get(), KVM_GET_SREGS, &sregs) < 0)
    return fmt::format("vCPU {}: registers cannot be read: {}", id_, std::strerror(errno));
  std::string text = fmt::format("vCPU {}:\n", id_);
  if (LooksLikeInit(regs, sregs)) text += "(as after INIT: this host kept nothing of the fault)\n";
  return text + GeneralText(regs) + SystemText(sregs) +
         CodeText(fd_.get(), memory_, sregs.cs.base + regs.rip);
}

bool Vcpu::HasUserThreadPointer() const {
  kvm_sregs sregs{};
  if (Ioctl(fd_.get(), KVM_GET_SREGS, &sregs) < 0) return false;
  return sregs.fs.base != 0 && sregs.fs.base >> 63 == 0;
}

}  // namespace gemel::kvm
