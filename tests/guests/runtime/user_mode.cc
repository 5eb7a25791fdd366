#include "tests/guests/runtime/user_mode.h"

#include "tests/guests/runtime/runtime.h"

extern "C" {
void EnterUserMode(void (*function)());  // returns after LeaveUserMode
[[noreturn]] void LeaveUserMode();       // from the handler
extern char user_kernel_stack_top[];
}

// A way back from CPL 3 that every host has: an undefined instruction. INT n and SYSCALL do not
// work on a KVM without hardware assistance.
asm(R"(
    .section .bss
    .balign 16
user_kernel_stack:
    .skip 16384
    .globl user_kernel_stack_top
user_kernel_stack_top:
user_stack:
    .skip 65536
user_stack_top:
user_saved_rsp:
    .skip 8

    .section .text
    .code64
    .globl EnterUserMode, LeaveUserMode
EnterUserMode:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, user_saved_rsp
    movq $user_stack_top - 8, %rax
    movq $user_returned, (%rax)   # as if called from there
    pushq $0x23                   # SS
    pushq %rax
    pushq $0x3002                 # RFLAGS: IOPL 3
    pushq $0x2b                   # CS
    pushq %rdi
    iretq
user_returned:
    movl $1, user_call
    ud2

LeaveUserMode:
    movl $0x18, %eax
    movl %eax, %ss
    movl %eax, %ds
    movl %eax, %es
    movq user_saved_rsp, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret
)");

// What an undefined instruction at CPL 3 asks for. 0: nothing, it is a fault.
extern "C" {
volatile std::uint32_t user_call = 0;
}

namespace guest {
namespace {

constexpr std::uint32_t kLeave = 1, kSleep = 2;

constexpr std::uint8_t kUndefined = 6;
constexpr std::uint16_t kTssSelector = 0x30;
constexpr std::uint64_t kUd2Bytes = 2;

// SDM vol. 3, 8.7: of the 64-bit TSS only RSP0 matters here; the I/O map is past the limit.
struct [[gnu::packed]] Tss {
  std::uint32_t reserved;
  std::uint64_t rsp0;
  std::uint8_t others[90];
  std::uint16_t io_map;
};
static_assert(sizeof(Tss) == 104);
Tss tss;

alignas(16) std::uint64_t gdt[8] = {
    0,
    0x00cf9b000000ffff,  // 0x08 to 0x18: start.cc's
    0x00af9b000000ffff,
    0x00cf93000000ffff,
    0x00cff3000000ffff,  // 0x20: data, DPL 3
    0x00affb000000ffff,  // 0x28: 64-bit code, DPL 3
    0,                   // 0x30: the TSS
    0,
};

void OnUndefined(std::uint8_t) {
  std::uint64_t* const resume_at = ResumeAt();
  const std::uint32_t call = user_call;
  user_call = 0;
  if (call == kLeave) LeaveUserMode();
  if (call != kSleep) {
    Print("FAIL: undefined instruction at ");
    PrintHex(*resume_at);
    Print("\n");
    Exit(0xee);
  }
  *resume_at += kUd2Bytes;
  WaitForInterrupt();
}

}  // namespace

void EnableUserMode() {
  const auto base = reinterpret_cast<std::uint64_t>(&tss);
  tss.rsp0 = reinterpret_cast<std::uint64_t>(user_kernel_stack_top);
  tss.io_map = sizeof tss;
  // SDM vol. 3, 8.2.3: type 9, present.
  gdt[6] = (sizeof tss - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
  gdt[7] = base >> 32;
  struct [[gnu::packed]] {
    std::uint16_t limit;
    std::uint64_t base;
  } const pointer{sizeof gdt - 1, reinterpret_cast<std::uint64_t>(gdt)};
  asm volatile("lgdt %0" : : "m"(pointer));
  asm volatile("ltr %0" : : "r"(kTssSelector));
  SetHandler(kUndefined, OnUndefined);
}

void RunInUserMode(void (*function)()) { EnterUserMode(function); }

void SleepInUserMode() {
  user_call = kSleep;
  asm volatile("ud2" : : : "memory");
}

}  // namespace guest
