// From the PVH entry (32-bit, paging off) to GuestMain in long mode; and the same for the other
// processors from their SIPI. The page tables are in the file, so that nothing has to be computed:
// they map the first 4 GiB to itself in 2 MiB pages.
//
// Every instruction here is one that the emulator of a KVM without hardware assistance knows.

asm(R"(
    .section .note.pvh, "a", @note
    .long 4, 4, 18                # name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_start

    .section .data
    .balign 4096
boot_pml4:
    .quad boot_pdpt + 0x7
    .fill 511, 8, 0
boot_pdpt:
    .quad boot_pds + 0x0007, boot_pds + 0x1007, boot_pds + 0x2007, boot_pds + 0x3007
    .fill 508, 8, 0
boot_pds:
    .set page, 0
    .rept 2048
    .quad (page << 21) + 0x87     # present, writable, for user mode too, 2 MiB
    .set page, page + 1
    .endr

    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff      # 0x08: 32-bit code
    .quad 0x00af9b000000ffff      # 0x10: 64-bit code
    .quad 0x00cf93000000ffff      # 0x18: data
boot_gdt_end:
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

    .section .bss
    .balign 16
boot_stack:
    .skip 16384
boot_stack_top:

    .section .text.start, "ax"
    .code32
    .globl pvh_start
pvh_start:
    movl %ebx, %edi               # start info: first argument of GuestStart
    movl $boot_stack_top, %esp
    lgdtl boot_gdt_pointer
    movl $start64, %esi
    jmp enter_long_mode

# EDI is kept, ESI is where to go in 64-bit mode, ESP is a stack.
enter_long_mode:
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax               # PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx        # EFER
    rdmsr
    orl $0x100, %eax              # LME
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax         # PG, PE
    movl %eax, %cr0
    ljmpl $0x10, $in_long_mode
    .code64
in_long_mode:
    movl $0x18, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %ebp, %ebp
    movl %esi, %esi
    movl %edi, %edi
    jmp *%rsi

start64:
    call GuestStart
    ud2

# ---- the other processors: copied to kTrampoline, entered there in real mode --------------------
    .code16
    .globl trampoline, trampoline_end
trampoline:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl (0x8000 + trampoline_gdt_pointer - trampoline)
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $0x08, $trampoline32
trampoline_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt
trampoline_end:

    .code32
trampoline32:
    movl $0x18, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $4096, %esp              # each processor takes the next stack
    lock xaddl %esp, next_ap_stack
    movl $ap_start64, %esi
    jmp enter_long_mode
    .code64
ap_start64:
    call ApStart
    ud2

    .section .data
    .balign 8
next_ap_stack:
    .long ap_stacks + 4096

    .section .bss
    .balign 4096
ap_stacks:
    .skip 64 * 4096

# ---- interrupts: a stub a vector, which calls InterruptStart(vector, error code, place of RIP) ---
    .section .text
    .code64
    .globl interrupt_stubs
    .balign 16
interrupt_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21)
    .else
    pushq $0                      # the others push no error code
    .endif
    pushq $vector
    jmp interrupt_common
    .set vector, vector + 1
    .endr

interrupt_common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    movq 72(%rsp), %rdi
    movq 80(%rsp), %rsi
    leaq 88(%rsp), %rdx
    cld
    call InterruptStart
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq
)");
