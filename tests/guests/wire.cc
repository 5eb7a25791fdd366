// A network card at the end of a serial line, for tests that speak for a guest: each line of
// hexadecimal digits read is a frame that the card sends, each frame that the card gets is such a line
// printed. First comes "mac" and the card's address. It never ends by itself.
#include "tests/guests/bench/queue.h"
#include "tests/guests/runtime/runtime.h"

namespace {

using bench::Descriptor;

constexpr std::uint16_t kSerial = 0x3f8, kInterruptEnable = kSerial + 1, kLineStatus = kSerial + 5;
constexpr std::uint8_t kDataReady = 1, kTransmitterEmpty = 1 << 5;
constexpr std::uint32_t kSerialPin = 4;
constexpr std::uint8_t kSerialVector = 0x61;
constexpr std::uint64_t kMacFeature = 1ull << 5, kMergeableFeature = 1ull << 15;
constexpr std::uint32_t kHeaderBytes = 12;  // virtio_net_hdr_v1 (virtio 1.2, 5.1.6): zeros
constexpr std::uint32_t kBufferBytes = 2048;
constexpr std::uint16_t kBuffers = 64;

bench::Queue receive, transmit;
alignas(64) std::uint8_t buffers[kBuffers][kBufferBytes];
alignas(64) std::uint8_t frame[kBufferBytes];
std::uint32_t digits = 0;  // of the line so far

void Put(char byte) {
  while ((guest::In8(kLineStatus) & kTransmitterEmpty) == 0) asm volatile("pause");
  guest::Out8(kSerial, static_cast<std::uint8_t>(byte));
}

void PutHex(const std::uint8_t* bytes, std::uint32_t count) {
  constexpr const char* kDigits = "0123456789abcdef";
  for (std::uint32_t i = 0; i < count; ++i) {
    Put(kDigits[bytes[i] >> 4]);
    Put(kDigits[bytes[i] & 15]);
  }
  Put('\n');
}

void Send(std::uint32_t bytes) {
  transmit.descriptors()[0] = {reinterpret_cast<std::uint64_t>(frame), kHeaderBytes + bytes, 0, 0};
  transmit.Offer(0);
  transmit.Publish();
  while (!transmit.has_used()) asm volatile("pause");
  transmit.Take();
}

void Type(std::uint8_t byte) {
  if (byte == '\n') {
    if (digits >= 2) Send(digits / 2);
    digits = 0;
    return;
  }
  const std::uint32_t value = byte <= '9' ? byte - '0' : (byte | 0x20) - 'a' + 10;
  const std::uint32_t at = kHeaderBytes + digits / 2;
  if (value > 15 || at >= kBufferBytes) return;
  frame[at] = static_cast<std::uint8_t>(digits % 2 == 0 ? value << 4 : frame[at] | value);
  ++digits;
}

void Drain() {
  while (receive.has_used()) {
    const bench::Queue::Used used = receive.Take();
    PutHex(buffers[used.head] + kHeaderBytes, used.length - kHeaderBytes);
    receive.Offer(static_cast<std::uint16_t>(used.head));
  }
  receive.Publish();
}

void Prepare(const bench::Device& device) {
  const std::uint64_t features =
      bench::Negotiate(device.registers, bench::kVersion1 | kMacFeature | kMergeableFeature);
  bench::EnableInterrupt(device);
  if (!receive.SetUp(device, 0, features, true) || !transmit.SetUp(device, 1, features, false)) {
    guest::Print("FAIL: the device lacks a queue\n");
    guest::Exit(1);
  }
  for (std::uint16_t i = 0; i < kBuffers; ++i) {
    receive.descriptors()[i] = {reinterpret_cast<std::uint64_t>(buffers[i]), kBufferBytes,
                                gemel::virtio::kDescriptorWrite, 0};
    receive.Offer(i);
  }
  bench::Start(device.registers);
  receive.Publish();
  // Whatever comes, something is waiting to be looked at.
  guest::SetHandler(kSerialVector, [](std::uint8_t) { guest::EndOfInterrupt(); });
  guest::RouteIoApic(kSerialPin, kSerialVector, guest::ApicId());
  guest::Out8(kInterruptEnable, 1);
  std::uint8_t mac[6];
  for (std::uint32_t i = 0; i < 6; ++i)
    mac[i] = guest::Read<std::uint8_t>(device.registers.config + i);
  guest::Print("mac");
  PutHex(mac, 6);
}

}  // namespace

void GuestMain() {
  const bench::Device device = bench::FindMmioDevice(bench::Type::kNet);
  if (!device.found()) {
    guest::Print("FAIL: no network card\n");
    guest::Exit(1);
  }
  Prepare(device);
  for (;;) {
    while ((guest::In8(kLineStatus) & kDataReady) != 0) Type(guest::In8(kSerial));
    Drain();
    // Interrupts are off but in the wait: what comes before it ends it.
    if (receive.AskForInterrupt() && (guest::In8(kLineStatus) & kDataReady) == 0)
      guest::WaitForInterrupt();
    receive.RefuseInterrupts();
  }
}
