// What a bare-metal guest of ours needs: ports, memory-mapped registers, a console, interrupts and
// the other processors. Freestanding; one processor prints at a time.
//
// A guest defines GuestMain. It reports on the first serial port, in lines, and ends with Exit.
#pragma once
#include <cstddef>
#include <cstdint>

namespace guest {

// ---- ports and memory-mapped registers ----------------------------------------------------------
inline void Out8(std::uint16_t port, std::uint8_t value) {
  asm volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
inline void Out16(std::uint16_t port, std::uint16_t value) {
  asm volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
inline void Out32(std::uint16_t port, std::uint32_t value) {
  asm volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
inline std::uint8_t In8(std::uint16_t port) {
  std::uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
  return value;
}
inline std::uint16_t In16(std::uint16_t port) {
  std::uint16_t value;
  asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
  return value;
}
inline std::uint32_t In32(std::uint16_t port) {
  std::uint32_t value;
  asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
  return value;
}

template <class T>
T Read(std::uint64_t address) {
  return *reinterpret_cast<volatile T*>(address);
}
template <class T>
void Write(std::uint64_t address, T value) {
  *reinterpret_cast<volatile T*>(address) = value;
}

inline std::uint64_t ReadMsr(std::uint32_t index) {
  std::uint32_t low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
  return (std::uint64_t{high} << 32) | low;
}
inline void WriteMsr(std::uint32_t index, std::uint64_t value) {
  asm volatile("wrmsr"
               :
               : "c"(index), "a"(static_cast<std::uint32_t>(value)),
                 "d"(static_cast<std::uint32_t>(value >> 32))
               : "memory");
}
inline std::uint64_t Tsc() {
  std::uint32_t low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return (std::uint64_t{high} << 32) | low;
}

struct Cpuid {
  std::uint32_t eax, ebx, ecx, edx;
};
inline Cpuid GetCpuid(std::uint32_t function, std::uint32_t index = 0) {
  Cpuid r;
  asm volatile("cpuid"
               : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
               : "a"(function), "c"(index));
  return r;
}

// ---- console ------------------------------------------------------------------------------------
void Print(const char* text);
void PrintHex(std::uint64_t value);
void PrintNumber(std::uint64_t value);
inline void PrintAll() {}
template <class... Rest>
void PrintAll(const char* text, Rest... rest);
template <class... Rest>
void PrintAll(std::uint64_t value, Rest... rest) {
  PrintNumber(value);
  PrintAll(rest...);
}
template <class... Rest>
void PrintAll(const char* text, Rest... rest) {
  Print(text);
  PrintAll(rest...);
}
// "ok: <what>" or "FAIL: <what>: got <got>, not <expected>".
void Expect(const char* what, std::uint64_t got, std::uint64_t expected);

// Ends the guest: QEMU's isa-debug-exit port, then PowerOff.
[[noreturn]] void Exit(std::uint8_t code);
// ACPI's S5 as server-1 and as micro-1 have it, then HLT for ever.
[[noreturn]] void PowerOff();
[[noreturn]] void HaltForever();

// ---- start-up -----------------------------------------------------------------------------------
// What the boot loader passed (PVH: hvm_start_info).
const char* CommandLine();
// The number after "<name>=" on the command line, or `fallback`.
std::uint64_t Option(const char* name, std::uint64_t fallback);
// True if the word is on the command line.
bool HasWord(const char* word);

// ---- interrupts ---------------------------------------------------------------------------------
using Handler = void (*)(std::uint8_t vector);
// Installs `handler` for the vector; it must end with EndOfInterrupt for APIC interrupts. A vector
// without one is reported and ends the guest.
void SetHandler(std::uint8_t vector, Handler handler);
// Where the interrupted code goes on; a handler that changes it reads this before another interrupt
// can come.
std::uint64_t* ResumeAt();
inline void EnableInterrupts() { asm volatile("sti" : : : "memory"); }
inline void DisableInterrupts() { asm volatile("cli" : : : "memory"); }
// Waits for one interrupt. REQUIRES: interrupts are disabled; they are again on return.
inline void WaitForInterrupt() { asm volatile("sti; hlt; cli" : : : "memory"); }

// ---- APICs --------------------------------------------------------------------------------------
inline constexpr std::uint64_t kLocalApic = 0xfee00000;
inline constexpr std::uint64_t kIoApic = 0xfec00000;
inline std::uint32_t ApicRead(std::uint32_t offset) {
  return Read<std::uint32_t>(kLocalApic + offset);
}
inline void ApicWrite(std::uint32_t offset, std::uint32_t value) {
  Write<std::uint32_t>(kLocalApic + offset, value);
}
inline std::uint32_t ApicId() { return ApicRead(0x20) >> 24; }
// Masks both PICs and enables this processor's APIC.
void EnableApic();
inline void EndOfInterrupt() { ApicWrite(0xb0, 0); }
// Sends IOAPIC input `pin` to `vector` of the processor with this APIC id, edge-triggered.
void RouteIoApic(std::uint32_t pin, std::uint8_t vector, std::uint32_t apic_id);

// ---- processors ---------------------------------------------------------------------------------
// Starts all other processors with INIT and SIPI; each runs `entry` with its stack and never
// returns.
void StartOtherProcessors(void (*entry)());

}  // namespace guest

// The guest itself.
void GuestMain();
