// What a vCPU cannot go on after, or never ends; which of them is the command line's word.
#include "tests/guests/runtime/runtime.h"

namespace {

void TripleFault() {
  const struct [[gnu::packed]] {
    std::uint16_t limit;
    std::uint64_t base;
  } none{0, 0};
  asm volatile("lidt %0; ud2" : : "m"(none));
}

// Code where no memory is: KVM has nothing to run.
void RunNothing() { reinterpret_cast<void (*)()>(0xd8000000)(); }

void Spin() {
  for (;;) asm volatile("pause");
}

// Leaves the processor all the time, for a port where nothing is.
void ReadNothing() {
  for (;;) guest::In32(0x1200);
}

// A device at 0x1200 counts up with each read; a read lost or done twice shows.
void ReadSequence() {
  std::uint32_t last = guest::In32(0x1200);
  for (;;) {
    const std::uint32_t next = guest::In32(0x1200);
    if (next != last + 1) guest::Expect("sequence", next, last + 1);
    last = next;
  }
}

}  // namespace

void GuestMain() {
  guest::Print("begin\n");
  if (guest::HasWord("triple-ap")) {
    guest::StartOtherProcessors(TripleFault);
    guest::HaltForever();
  }
  if (guest::HasWord("triple")) TripleFault();
  if (guest::HasWord("nothing")) RunNothing();
  if (guest::HasWord("spin")) Spin();
  if (guest::HasWord("halt")) guest::HaltForever();
  if (guest::HasWord("ports")) ReadNothing();
  if (guest::HasWord("sequence")) ReadSequence();
  if (guest::HasWord("exception")) asm volatile("ud2");
  guest::Exit(0);
}
