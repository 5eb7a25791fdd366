#include "vmm/kvm/probe_guests.h"

#include <array>

// Addresses inside are relative to their own instruction or written as kProbeCode + distance.
asm(R"(
    .pushsection .rodata
    .set probe_code, 0x8000
    .set probe_port, 0x80
    .set probe_pass, 0x5a

# To user mode by IRETQ and back by SYSCALL; reading CR0 and OUT then need kernel mode.
probe_syscall:
    lgdt probe_gdt_pointer(%rip)
    movl $0xc0000080, %ecx        # EFER.SCE
    rdmsr
    orl $1, %eax
    wrmsr
    movl $0xc0000081, %ecx        # STAR: kernel from 0x08, user from 0x18
    xorl %eax, %eax
    movl $0x00180008, %edx
    wrmsr
    movl $0xc0000082, %ecx        # LSTAR
    movl $(probe_code + (probe_kernel - probe_syscall)), %eax
    xorl %edx, %edx
    wrmsr
    pushq $0x23                   # SS
    pushq $0x7000                 # RSP
    pushq $0x2                    # RFLAGS
    pushq $0x2b                   # CS
    pushq $(probe_code + (probe_user - probe_syscall))
    iretq
probe_user:
    syscall
    ud2
probe_kernel:
    movq %cr0, %rax
    movl %cs, %eax
    testl $3, %eax
    jnz 1f
    movb $probe_pass, %al
    outb %al, $probe_port
1:  cli
    hlt
    jmp 1b
    .balign 8
probe_gdt:
    .quad 0
    .quad 0x00af9b000000ffff      # 0x08 kernel code
    .quad 0x00cf93000000ffff      # 0x10 kernel data
    .quad 0x00cffb000000ffff      # 0x18 user code, 32 bits
    .quad 0x00cff3000000ffff      # 0x20 user data
    .quad 0x00affb000000ffff      # 0x28 user code
probe_gdt_pointer:
    .word probe_gdt_pointer - probe_gdt - 1
    .quad probe_code + (probe_gdt - probe_syscall)
probe_syscall_end:

# Linux's memory allocator relies on CMPXCHG16B in kernel mode.
probe_cmpxchg16b:
    movl $0x7000, %edi
    xorl %eax, %eax
    xorl %edx, %edx
    movl $1, %ebx
    movl $2, %ecx
    movq $0, (%rdi)
    movq $0, 8(%rdi)
    lock cmpxchg16b (%rdi)
    jnz 1f
    cmpq $2, 8(%rdi)
    jne 1f
    movb $probe_pass, %al
    outb %al, $probe_port
1:  cli
    hlt
    jmp 1b
probe_cmpxchg16b_end:

# Kernels use vector registers themselves, for checksums and cryptography.
probe_sse:
    movq %cr0, %rax
    andl $~0x4, %eax              # EM
    orl $0x2, %eax                # MP
    movq %rax, %cr0
    movq %cr4, %rax
    orl $0x600, %eax              # OSFXSR, OSXMMEXCPT
    movq %rax, %cr4
    movl $0x12345678, %eax
    movd %eax, %xmm0
    paddd %xmm0, %xmm0
    movd %xmm0, %eax
    cmpl $0x2468acf0, %eax
    jne 1f
    movb $probe_pass, %al
    outb %al, $probe_port
1:  cli
    hlt
    jmp 1b
probe_sse_end:
    .popsection
)");

extern "C" {
extern const std::byte probe_syscall[], probe_syscall_end[];
extern const std::byte probe_cmpxchg16b[], probe_cmpxchg16b_end[];
extern const std::byte probe_sse[], probe_sse_end[];
}

namespace gemel::kvm {

std::span<const ProbeGuestImage> ProbeGuestImages() {
  static const std::array<ProbeGuestImage, 3> images{{
      {"system calls from user mode reach kernel mode",
       "A guest's programs cannot call its kernel: SYSCALL in user mode does not reach kernel "
       "mode.",
       {probe_syscall, probe_syscall_end}},
      {"CMPXCHG16B in kernel mode",
       "A guest's kernel cannot use the instruction CMPXCHG16B, on which Linux relies.",
       {probe_cmpxchg16b, probe_cmpxchg16b_end}},
      {"vector instructions in kernel mode",
       "A guest's kernel cannot use vector (SSE) instructions.",
       {probe_sse, probe_sse_end}},
  }};
  return images;
}

}  // namespace gemel::kvm
