// Interrupts from every source a machine has: lines by irqfd (asked for by writing the line's
// number to a port), PIT, PIC, the APIC's timer in both modes.
#include "tests/guests/runtime/runtime.h"

namespace {

constexpr std::uint16_t kAskForLine = 0x1100;
constexpr std::uint8_t kVector = 0x40, kTimerVector = 0x41, kPicVector = 0x50;
volatile std::uint32_t seen = 0;

void OnApicInterrupt(std::uint8_t) {
  seen = seen + 1;
  guest::EndOfInterrupt();
}

void OnPicInterrupt(std::uint8_t) {
  seen = seen + 1;
  guest::Out8(0x20, 0x20);
}

void ExpectOne(const char* what) {
  while (seen == 0) guest::WaitForInterrupt();
  guest::Expect(what, seen, 1);
  seen = 0;
}

void Line(std::uint32_t pin, const char* what) {
  guest::RouteIoApic(pin, kVector, guest::ApicId());
  guest::Out8(kAskForLine, static_cast<std::uint8_t>(pin));
  ExpectOne(what);
}

// Channel 0, mode 0: one interrupt when the count ends.
void Pit() {
  guest::RouteIoApic(2, kTimerVector, guest::ApicId());
  guest::Out8(0x43, 0x30);
  guest::Out8(0x40, 0xe8);
  guest::Out8(0x40, 0x03);
  ExpectOne("PIT at IOAPIC pin 2");
  guest::RouteIoApic(2, 0, 0);
}

void ApicTimer() {
  guest::ApicWrite(0x3e0, 0xb);           // divide by 1
  guest::ApicWrite(0x320, kTimerVector);  // one-shot
  guest::ApicWrite(0x380, 100000);
  ExpectOne("APIC timer");
}

void TscDeadline() {
  constexpr std::uint32_t kDeadline = 0x6e0, kDeadlineMode = 2 << 17;
  if (((guest::GetCpuid(1).ecx >> 24) & 1) == 0) {
    guest::Print("absent: TSC-deadline timer\n");
    return;
  }
  guest::ApicWrite(0x320, kDeadlineMode | kTimerVector);
  asm volatile("mfence" : : : "memory");
  guest::WriteMsr(kDeadline, guest::Tsc() + 100000);
  ExpectOne("TSC-deadline timer");
}

// The PICs reach the processor through LINT0, which firmware leaves open.
void Pic() {
  guest::Out8(0x20, 0x11);
  guest::Out8(0x21, kPicVector);
  guest::Out8(0x21, 4);
  guest::Out8(0x21, 1);
  guest::Out8(0x21, 0xff & ~(1 << 5));
  guest::Out8(kAskForLine, 5);
  ExpectOne("line 5 at the PIC");
  guest::Out8(0x21, 0xff);
}

}  // namespace

void GuestMain() {
  guest::EnableApic();
  guest::SetHandler(kVector, OnApicInterrupt);
  guest::SetHandler(kTimerVector, OnApicInterrupt);
  guest::SetHandler(kPicVector + 5, OnPicInterrupt);
  Pit();
  ApicTimer();
  TscDeadline();
  if (guest::HasWord("lines")) {
    Pic();
    Line(4, "line 4");
    Line(16, "line 16");
    Line(23, "line 23");
  }
  guest::Exit(0);
}
