// The serial console by polling, in both directions, and the power button: for tests of `gemel
// run`. "lines=N" prints N lines of 64 bytes; "echo" sends back what it reads until a 'Q'; "button"
// waits for the power button, "sleep" for the sleep button. Then ACPI's S5.
#include "tests/guests/runtime/runtime.h"

namespace {

constexpr std::uint16_t kSerial = 0x3f8, kLineStatus = kSerial + 5;
constexpr std::uint16_t kPm1Status = 0x600;
constexpr std::uint8_t kDataReady = 1, kTransmitterEmpty = 1 << 5;
constexpr std::uint16_t kPowerButton = 1 << 8, kSleepButton = 1 << 9;

void Put(std::uint8_t byte) {
  while ((guest::In8(kLineStatus) & kTransmitterEmpty) == 0) asm volatile("pause");
  guest::Out8(kSerial, byte);
}

// "<number, 10 digits> <52 dots>\n"
void PutLine(std::uint64_t number) {
  std::uint8_t line[64];
  for (std::uint8_t& byte : line) byte = '.';
  for (int i = 9; i >= 0; --i) {
    line[i] = static_cast<std::uint8_t>('0' + number % 10);
    number /= 10;
  }
  line[10] = ' ';
  line[63] = '\n';
  for (const std::uint8_t byte : line) Put(byte);
}

void Echo() {
  for (;;) {
    if ((guest::In8(kLineStatus) & kDataReady) == 0) continue;
    const std::uint8_t byte = guest::In8(kSerial);
    Put(byte);
    if (byte == 'Q') return;
  }
}

void WaitFor(std::uint16_t button) {
  guest::Print("waiting\n");
  while ((guest::In16(kPm1Status) & button) == 0) asm volatile("pause");
}

}  // namespace

void GuestMain() {
  const std::uint64_t lines = guest::Option("lines", 0);
  for (std::uint64_t i = 0; i < lines; ++i) PutLine(i);
  if (guest::HasWord("echo")) Echo();
  if (guest::HasWord("button")) WaitFor(kPowerButton);
  if (guest::HasWord("sleep")) WaitFor(kSleepButton);
  guest::PowerOff();
}
