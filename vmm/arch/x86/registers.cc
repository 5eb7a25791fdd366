#include "vmm/arch/x86/registers.h"

namespace gemel::x86 {
namespace {

constexpr std::uint64_t kRflagsFixed = 1 << 1;  // the bit that is always set
constexpr std::uint64_t kCr0Pe = 1 << 0;
constexpr std::uint64_t kCr0Et = 1 << 4;
constexpr std::uint64_t kCr0Pg = 1u << 31;
constexpr std::uint64_t kCr4Pae = 1 << 5;
constexpr std::uint64_t kEferLme = 1 << 8;
constexpr std::uint64_t kEferLma = 1 << 10;

constexpr std::uint8_t kCodeReadableAccessed = 0xb;
constexpr std::uint8_t kDataWritableAccessed = 0x3;
constexpr std::uint8_t kTss32Busy = 0xb;
constexpr std::uint16_t kTaskSelector = 0x18;
constexpr std::uint16_t kTssLimit = 0x67;

Segment Flat(std::uint16_t selector, std::uint8_t type) {
  Segment segment;
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = true;
  segment.code_or_data = true;
  segment.big = true;
  segment.granular = true;
  return segment;
}

// VM entry on Intel demands a usable busy TSS in TR (SDM vol. 3, 26.3.1.2).
Segment Task() {
  Segment segment;
  segment.limit = kTssLimit;
  segment.selector = kTaskSelector;
  segment.type = kTss32Busy;
  segment.present = true;
  return segment;
}

}  // namespace

StartRegisters RegistersFor(const BootState& state) {
  StartRegisters registers;
  registers.rip = state.entry;
  registers.rsp = state.stack;
  registers.rflags = kRflagsFixed;
  registers.code = Flat(kBootCodeSelector, kCodeReadableAccessed);
  registers.data = Flat(kBootDataSelector, kDataWritableAccessed);
  registers.task = Task();
  registers.cr0 = kCr0Pe | kCr0Et;
  // An empty IDT: the first fault is a triple fault, which is reported, instead of a jump to 0.
  if (state.gdt != 0) registers.gdt = {state.gdt, sizeof kBootGdt64 - 1};
  if (state.mode == BootState::Mode::kProtected32) {
    registers.rbx = state.argument;
    return registers;
  }
  registers.rsi = state.argument;
  registers.code.long_mode = true;
  registers.code.big = false;  // L and D are never both set
  registers.cr0 |= kCr0Pg;
  registers.cr3 = state.page_tables;
  registers.cr4 = kCr4Pae;
  registers.efer = kEferLme | kEferLma;
  return registers;
}

}  // namespace gemel::x86
