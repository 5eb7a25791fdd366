// Ends by the ways an operating system uses: "reset" writes the reset register, "i8042" pulses the
// keyboard controller's reset line, otherwise ACPI's S5.
#include "tests/guests/runtime/runtime.h"

void GuestMain() {
  constexpr std::uint16_t kReset = 0xcf9, kI8042 = 0x64;
  guest::Print("begin\n");
  if (guest::HasWord("reset")) {
    guest::Out8(kReset, 0x06);
  } else if (guest::HasWord("i8042")) {
    guest::Out8(kI8042, 0xfe);
  } else {
    guest::PowerOff();
  }
  guest::HaltForever();
}
