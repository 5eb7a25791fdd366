// Port and memory accesses of every width, for a device that records writes and answers reads with
// 0x8877665544332211 cut to the width.
#include "tests/guests/runtime/runtime.h"

namespace {

constexpr std::uint16_t kPort = 0x1000;
constexpr std::uint16_t kNoPort = 0x2000;
constexpr std::uint64_t kMmio = 0xd0000000;  // two pages of the recording device
constexpr std::uint64_t kNoMmio = 0xd8000000;
constexpr std::uint64_t kDoorbell = 0xd0001050;  // the value 7 is taken by an ioeventfd
constexpr std::uint32_t kMany = 5000;            // more than KVM hands over at once

std::uint8_t buffer[2 * kMany];

void Ports() {
  guest::Out8(kPort, 0x11);
  guest::Out16(kPort + 2, 0x2222);
  guest::Out32(kPort + 4, 0x44444444);
  guest::Expect("in8", guest::In8(kPort), 0x11);
  guest::Expect("in16", guest::In16(kPort), 0x2211);
  guest::Expect("in32", guest::In32(kPort), 0x44332211);
  guest::Expect("in8 of no device", guest::In8(kNoPort), 0xff);
  guest::Expect("in32 of no device", guest::In32(kNoPort), 0xffffffff);
  guest::Out32(kNoPort, 1);
}

void StringPorts() {
  const void* from = "abcde";
  std::uint64_t count = 5;
  asm volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(kPort) : "memory");
  void* to = buffer;
  count = kMany;
  asm volatile("rep insw" : "+D"(to), "+c"(count) : "d"(kPort) : "memory");
  std::uint64_t right = 0;
  for (std::uint32_t i = 0; i < 2 * kMany; i += 2) {
    right += buffer[i] == 0x11 && buffer[i + 1] == 0x22;
  }
  guest::Expect("rep insw", right, kMany);
  guest::Expect("rep insw ends where it should", reinterpret_cast<std::uint64_t>(to),
                reinterpret_cast<std::uint64_t>(buffer + 2 * kMany));
  from = buffer;
  count = kMany;
  asm volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(kPort + 1) : "memory");
}

void Memory() {
  guest::Write<std::uint8_t>(kMmio, 0x11);
  guest::Write<std::uint16_t>(kMmio + 2, 0x2222);
  guest::Write<std::uint32_t>(kMmio + 4, 0x44444444);
  guest::Write<std::uint64_t>(kMmio + 8, 0x8888888877777777);
  guest::Expect("read8", guest::Read<std::uint8_t>(kMmio), 0x11);
  guest::Expect("read16", guest::Read<std::uint16_t>(kMmio), 0x2211);
  guest::Expect("read32", guest::Read<std::uint32_t>(kMmio), 0x44332211);
  guest::Expect("read64", guest::Read<std::uint64_t>(kMmio), 0x8877665544332211);
  guest::Expect("read64 of no device", guest::Read<std::uint64_t>(kNoMmio), ~0ull);
  guest::Write<std::uint64_t>(kNoMmio, 1);
  // Across a page: KVM makes two accesses of it, of widths that no instruction has.
  guest::Write<std::uint64_t>(kMmio + 0xffd, 0x8877665544332211);
  guest::Expect("read64 across a page", guest::Read<std::uint64_t>(kMmio + 0xffd),
                0x5544332211332211);
}

void Doorbell() {
  guest::Write<std::uint32_t>(kDoorbell, 7);
  guest::Write<std::uint32_t>(kDoorbell, 8);
}

}  // namespace

void GuestMain() {
  Ports();
  StringPorts();
  Memory();
  Doorbell();
  guest::Exit(0);
}
