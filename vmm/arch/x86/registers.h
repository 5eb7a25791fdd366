// Register values as plain numbers, and the ones a vCPU starts with. vmm/kvm sets them.
#pragma once
#include <cstdint>
#include <vector>

#include "vmm/arch/x86/boot_state.h"

namespace gemel::x86 {

// The part of a segment register that the processor keeps (SDM vol. 3, 3.4.3).
struct Segment {
  std::uint64_t base = 0;
  std::uint32_t limit = 0;
  std::uint16_t selector = 0;
  std::uint8_t type = 0;
  std::uint8_t dpl = 0;
  bool present = false;
  bool code_or_data = false;  // the S flag
  bool long_mode = false;     // L
  bool big = false;           // D/B
  bool granular = false;      // G; `limit` is in bytes all the same
};

struct DescriptorTable {
  std::uint64_t base = 0;
  std::uint16_t limit = 0;
};

// What SetBootState changes; every other register keeps its value after RESET.
struct StartRegisters {
  std::uint64_t rip = 0;
  std::uint64_t rsp = 0;
  std::uint64_t rbp = 0;
  std::uint64_t rbx = 0;
  std::uint64_t rsi = 0;
  std::uint64_t rflags = 0;
  Segment code;
  Segment data;  // DS, ES, FS, GS and SS
  Segment task;
  DescriptorTable gdt;
  DescriptorTable idt;
  std::uint64_t cr0 = 0;
  std::uint64_t cr3 = 0;
  std::uint64_t cr4 = 0;
  std::uint64_t efer = 0;
};

// The registers that the protocol of `state.mode` asks for.
StartRegisters RegistersFor(const BootState& state);

}  // namespace gemel::x86
