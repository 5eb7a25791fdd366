// Interrupts from every source a machine has: lines by irqfd (asked for by writing the line's
// number to a port), levels, messages (MSI), PIT, PIC, the APIC's timer in both modes.
#include "tests/guests/runtime/runtime.h"

namespace {

constexpr std::uint16_t kAskForLine = 0x1100;
// What kMessages takes: the message, the end of it, a trigger; reads: whether one is pending.
constexpr std::uint16_t kMessages = 0x1101;
constexpr std::uint8_t kSetMessage = 1, kWithdraw = 2, kTrigger = 3;
constexpr std::uint16_t kLevel = 0x1102;  // holds line 18 up, or lets go of it
constexpr std::uint8_t kVector = 0x40, kTimerVector = 0x41, kLevelVector = 0x42, kPicVector = 0x50;
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

void Messages() {
  guest::Out8(kMessages, kSetMessage);
  guest::Out8(kMessages, kTrigger);
  ExpectOne("message");
  guest::Out8(kMessages, kWithdraw);
  guest::Expect("nothing pending", guest::In8(kMessages), 0);
  guest::Out8(kMessages, kTrigger);
  guest::Out8(kMessages, kTrigger);
  guest::Expect("pending while withdrawn", guest::In8(kMessages), 1);
  guest::EnableInterrupts();
  for (int i = 0; i < 20; ++i) guest::In8(kMessages);
  guest::DisableInterrupts();
  guest::Expect("messages while withdrawn", seen, 0);
  guest::Out8(kMessages, kSetMessage);
  ExpectOne("pending message");
  guest::Expect("nothing pending after it", guest::In8(kMessages), 0);
  guest::Out8(kMessages, kWithdraw);
  guest::Expect("nor when withdrawn again", guest::In8(kMessages), 0);
}

// In service it is asked for again, once: the second interrupt comes of the level that still holds.
volatile std::uint32_t serviced = 0;
void OnLevel(std::uint8_t) {
  serviced = serviced + 1;
  guest::Out8(kLevel, 0);
  if (serviced == 1) guest::Out8(kLevel, 1);
  guest::EndOfInterrupt();
}

void Level() {
  constexpr std::uint32_t kPin = 18, kLevelTriggered = 1 << 15;
  guest::RouteIoApic(kPin, kLevelVector, guest::ApicId());
  guest::Write<std::uint32_t>(guest::kIoApic, 0x10 + 2 * kPin);
  guest::Write<std::uint32_t>(guest::kIoApic + 0x10, kLevelVector | kLevelTriggered);
  guest::SetHandler(kLevelVector, OnLevel);
  guest::Out8(kLevel, 1);
  while (serviced < 2) guest::WaitForInterrupt();
  guest::EnableInterrupts();
  for (int i = 0; i < 20; ++i) guest::In8(kMessages);
  guest::DisableInterrupts();
  // A KVM that emulates kernel mode delivers one more (EOI finds nothing in service): no storm.
  guest::Expect("level that rose again in service", serviced <= 3, 1);
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
    Messages();
    Level();
  }
  guest::Exit(0);
}
