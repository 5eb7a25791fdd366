// Says that it is there, and then costs its host nothing: for tests of those who look after many.
#include "tests/guests/runtime/runtime.h"

void GuestMain() {
  guest::Print("ready\n");
  guest::HaltForever();
}
