// The smallest guest: says that it runs, and with which command line.
#include "tests/guests/runtime/runtime.h"

void GuestMain() {
  guest::PrintAll("hello from a bare-metal guest: ", guest::CommandLine(), "\n");
  guest::Exit(42);
}
