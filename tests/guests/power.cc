// Ends by the ways an operating system uses: "reset" writes the reset register, "i8042" pulses the
// keyboard controller's reset line, "panic" tells pvpanic that its kernel has panicked, otherwise ACPI's S5.
#include "tests/guests/runtime/runtime.h"

void GuestMain() {
  constexpr std::uint16_t kReset = 0xcf9, kI8042 = 0x64, kPvPanic = 0x505;
  guest::Print("begin\n");
  if (guest::HasWord("reset")) {
    guest::Out8(kReset, 0x06);
  } else if (guest::HasWord("i8042")) {
    guest::Out8(kI8042, 0xfe);
  } else if (guest::HasWord("panic")) {
    guest::Out8(kPvPanic, 1);
  } else {
    guest::PowerOff();
  }
  guest::HaltForever();
}
