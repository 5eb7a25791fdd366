// PCI as a driver meets it, on machine type server-1 with its virtio-rng: both ways to
// configuration space, buses behind root ports, BARs that move, MSI-X with masks and pending bits,
// the pin, function level reset. (virtio 1.2, 4.1; PCIe 6.1, 6.1.4)
#include "tests/guests/runtime/runtime.h"

namespace {

constexpr std::uint16_t kConfigAddress = 0xcf8, kConfigData = 0xcfc;
constexpr std::uint32_t kEntropy = 0x1044'1af4;
constexpr std::uint32_t kCommand = 0x04, kBar0 = 0x10, kMsixBar = 0x18, kCapabilities = 0x34;
constexpr std::uint16_t kMemory = 2, kBusMaster = 4;
// Where this guest moves BAR 0, which firmware puts above what our page tables reach.
constexpr std::uint64_t kFirstPlace = 0xde00'0000, kSecondPlace = 0xde10'0000;
constexpr std::uint64_t kStatus = 0x14, kIsr = 0x1000, kNotify = 0x3000;
constexpr std::uint8_t kMessageVector = 0x40, kPinVector = 0x41;

// ---- configuration space ------------------------------------------------------------------------

std::uint64_t ecam = 0;
std::uint32_t slot = 0;

std::uint32_t ByPorts(std::uint32_t function, std::uint32_t offset) {
  guest::Out32(kConfigAddress, 1u << 31 | function << 8 | offset);
  return guest::In32(kConfigData);
}
template <class T>
T Config(std::uint32_t offset) {
  return guest::Read<T>(ecam + (slot << 12) + offset);
}
template <class T>
void SetConfig(std::uint32_t offset, T value) {
  guest::Write<T>(ecam + (slot << 12) + offset, value);
}
std::uint32_t Capability(std::uint8_t id) {
  std::uint32_t at = Config<std::uint8_t>(kCapabilities);
  while (at != 0 && Config<std::uint8_t>(at) != id) at = Config<std::uint8_t>(at + 1);
  return at;
}

void BothWays() {
  ecam = ByPorts(0, 0x60) & 0xfc00'0000;
  std::uint32_t functions = 0, wrong = 0;
  for (std::uint32_t function = 0; function < 256; ++function) {
    if (ByPorts(function, 0) == 0xffff'ffff) continue;
    ++functions;
    if (ByPorts(function, 0) == kEntropy) slot = function;
    for (std::uint32_t at = 0; at < 0x40; at += 4)
      wrong += ByPorts(function, at) != guest::Read<std::uint32_t>(ecam + (function << 12) + at);
  }
  guest::Expect("registers that ports and ECAM show differently", wrong, 0);
  guest::Expect("at least bridges, ports and virtio-rng", functions >= 11, 1);
  guest::Expect("virtio-rng found", slot != 0, 1);
  const std::uint64_t secondary = guest::Read<std::uint8_t>(ecam + (0xe0 << 12) + 0x19);
  guest::Expect("bus behind the first root port", secondary, 1);
  guest::Expect("nothing behind it", guest::Read<std::uint32_t>(ecam + (secondary << 20)),
                0xffff'ffff);
}

// ---- the device ---------------------------------------------------------------------------------

struct Descriptor {
  std::uint64_t address;
  std::uint32_t length;
  std::uint16_t flags, next;
};
constexpr std::uint16_t kQueueSize = 8, kWritable = 2;
alignas(16) Descriptor descriptors[kQueueSize];
alignas(2) volatile std::uint16_t available[3 + kQueueSize];
alignas(4) volatile std::uint16_t used[3 + 4 * kQueueSize];
std::uint8_t bytes[16];
std::uint64_t bar = 0;
std::uint16_t offered = 0;

template <class T>
T Device(std::uint64_t offset) {
  return guest::Read<T>(bar + offset);
}
template <class T>
void SetDevice(std::uint64_t offset, T value) {
  guest::Write<T>(bar + offset, value);
}

void PlaceBar(std::uint64_t place) {
  SetConfig<std::uint32_t>(kBar0, static_cast<std::uint32_t>(place));
  SetConfig<std::uint32_t>(kBar0 + 4, 0);
  bar = place;
}

void StartDevice(std::uint16_t vector) {
  SetDevice<std::uint8_t>(kStatus, 0);
  while (Device<std::uint8_t>(kStatus) != 0) {
  }
  SetDevice<std::uint8_t>(kStatus, 1);
  SetDevice<std::uint8_t>(kStatus, 3);
  SetDevice<std::uint32_t>(0x08, 1);
  SetDevice<std::uint32_t>(0x0c, 1);  // VIRTIO_F_VERSION_1
  SetDevice<std::uint8_t>(kStatus, 0xb);
  guest::Expect("features accepted", Device<std::uint8_t>(kStatus), 0xb);
  SetDevice<std::uint16_t>(0x16, 0);
  SetDevice<std::uint16_t>(0x18, kQueueSize);
  SetDevice<std::uint16_t>(0x1a, vector);
  SetDevice<std::uint32_t>(
      0x20, static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(descriptors)));
  SetDevice<std::uint32_t>(0x28,
                           static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(available)));
  SetDevice<std::uint32_t>(0x30, static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(used)));
  for (volatile std::uint16_t& word : available) word = 0;
  for (volatile std::uint16_t& word : used) word = 0;
  offered = 0;
  SetDevice<std::uint16_t>(0x1c, 1);
  SetDevice<std::uint8_t>(kStatus, 0xf);
}

// Asks for some bytes and waits until they are there; the interrupt is the caller's.
void Ask() {
  descriptors[0] = {reinterpret_cast<std::uint64_t>(bytes), sizeof bytes, kWritable, 0};
  available[2 + offered % kQueueSize] = 0;
  offered = static_cast<std::uint16_t>(offered + 1);
  asm volatile("" : : : "memory");
  available[1] = offered;
  SetDevice<std::uint16_t>(kNotify, 0);
  while (used[1] != offered) {
  }
}

// ---- interrupts ---------------------------------------------------------------------------------

volatile std::uint32_t messages = 0, pins = 0;

void OnMessage(std::uint8_t) {
  messages = messages + 1;
  guest::EndOfInterrupt();
}

std::uint8_t seen_isr = 0;
void OnPin(std::uint8_t) {
  pins = pins + 1;
  seen_isr = static_cast<std::uint8_t>(seen_isr | Device<std::uint8_t>(kIsr));
  guest::EndOfInterrupt();
}

// Lets what is on its way arrive: many exits with interrupts enabled.
void Settle() {
  guest::EnableInterrupts();
  for (int i = 0; i < 200; ++i) guest::In8(0x64);
  guest::DisableInterrupts();
}
void ExpectMessages(const char* what, std::uint32_t count) {
  for (int i = 0; i < 1000 && messages < count; ++i) Settle();
  Settle();
  guest::Expect(what, messages, count);
  messages = 0;
}

std::uint64_t table = 0;
std::uint32_t msix = 0;

bool Pending(std::uint32_t vector) {
  return (guest::Read<std::uint32_t>(table + 0x800) >> vector & 1) != 0;
}
// The pending bit follows the used ring by a moment of the device's thread.
void ExpectPending(const char* what) {
  for (int i = 0; i < 100'000 && !Pending(1); ++i) {
  }
  guest::Expect(what, Pending(1), 1);
}
void MaskVector(std::uint32_t mask) { guest::Write<std::uint32_t>(table + 16 + 12, mask); }

void Msix() {
  table = Config<std::uint32_t>(kMsixBar) & ~0xfull;
  msix = Capability(0x11) + 2;
  guest::Write<std::uint32_t>(table + 16, 0xfee0'0000u | guest::ApicId() << 12);
  guest::Write<std::uint32_t>(table + 20, 0);
  guest::Write<std::uint32_t>(table + 24, kMessageVector);
  SetConfig<std::uint16_t>(msix, 0x8000);
  StartDevice(1);
  guest::Expect("vector kept", Device<std::uint16_t>(0x1a), 1);
  Ask();
  ExpectPending("pending while the vector is masked");
  ExpectMessages("messages while the vector is masked", 0);
  MaskVector(0);
  ExpectMessages("message when it is unmasked", 1);
  guest::Expect("not pending after it", Pending(1), 0);
  Ask();
  ExpectMessages("message of an unmasked vector", 1);

  SetConfig<std::uint16_t>(msix, 0xc000);
  Ask();
  ExpectPending("pending while the function is masked");
  ExpectMessages("messages while the function is masked", 0);
  SetConfig<std::uint16_t>(msix, 0x8000);
  ExpectMessages("message when the function is unmasked", 1);
  guest::Expect("ISR untouched by messages", Device<std::uint8_t>(kIsr), 0);
}

void MovedBar() {
  PlaceBar(kSecondPlace);
  guest::Expect("the old place", guest::Read<std::uint32_t>(kFirstPlace), 0xffff'ffff);
  guest::Expect("status at the new place", Device<std::uint8_t>(kStatus), 0xf);
  Ask();
  ExpectMessages("message of a kick at the new place", 1);
}

// Onto what answers there already: that goes on, and the BAR comes back whole.
void HostileBar() {
  constexpr std::uint64_t kRam = 16 << 20, kIoApicVersion = 1;
  constexpr std::uint32_t kMoves = 100;
  guest::Write<std::uint32_t>(kRam + kStatus, 0x12345678);
  PlaceBar(kRam);
  guest::Expect("RAM below a BAR", guest::Read<std::uint32_t>(kRam + kStatus), 0x12345678);
  guest::Write<std::uint32_t>(kRam + kStatus, 0);

  guest::Write<std::uint32_t>(guest::kIoApic, kIoApicVersion);
  const std::uint32_t version = guest::Read<std::uint32_t>(guest::kIoApic + 0x10);
  PlaceBar(guest::kIoApic);
  guest::Expect("IOAPIC below a BAR", guest::Read<std::uint32_t>(guest::kIoApic + 0x10), version);
  const std::uint32_t id = guest::ApicId();
  PlaceBar(guest::kLocalApic);
  guest::Expect("APIC below a BAR", guest::ApicId(), id);
  PlaceBar(ecam);
  guest::Expect("ECAM below a BAR", Config<std::uint32_t>(0), kEntropy);
  PlaceBar(table);
  guest::Expect("MSI-X table below a BAR", guest::Read<std::uint32_t>(table + 24), kMessageVector);

  for (std::uint32_t i = 0; i < kMoves; ++i) PlaceBar(kFirstPlace + (i % 64) * 0x4000);
  guest::Expect("status after many moves", Device<std::uint8_t>(kStatus), 0xf);
  Ask();
  ExpectMessages("message after many moves", 1);
}

// INTA# of device n is PIRQ E to H, in turn: inputs 20 to 23.
void Pin() {
  SetConfig<std::uint16_t>(msix, 0);
  constexpr std::uint32_t kLevel = 1 << 15;
  const std::uint32_t pin = 20 + (slot >> 3) % 4;
  guest::RouteIoApic(pin, kPinVector, guest::ApicId());
  guest::Write<std::uint32_t>(guest::kIoApic, 0x10 + 2 * pin);
  guest::Write<std::uint32_t>(guest::kIoApic + 0x10, kPinVector | kLevel);
  StartDevice(0xffff);
  Ask();
  for (int i = 0; i < 1000 && pins == 0; ++i) Settle();
  Settle();
  guest::Expect("interrupts by the pin", pins >= 1 && pins <= 2, 1);
  guest::Expect("its ISR", seen_isr, 1);
  guest::Expect("nothing asserted after it", Config<std::uint16_t>(6) & 8, 0);
}

void FunctionReset() {
  const std::uint32_t express = Capability(0x10);
  SetConfig<std::uint16_t>(express + 8, 0x8000);
  guest::Expect("command after a function level reset", Config<std::uint16_t>(kCommand), 0);
  guest::Expect("BAR 0 after it", Config<std::uint32_t>(kBar0), 4);
  PlaceBar(kFirstPlace);
  SetConfig<std::uint16_t>(kCommand, kMemory | kBusMaster);
  while (Device<std::uint8_t>(kStatus) != 0) {
  }
  StartDevice(0xffff);
  Ask();
  guest::Print("ok: the device after it\n");
}

}  // namespace

void GuestMain() {
  guest::EnableApic();
  guest::SetHandler(kMessageVector, OnMessage);
  guest::SetHandler(kPinVector, OnPin);
  BothWays();
  PlaceBar(kFirstPlace);
  SetConfig<std::uint16_t>(kCommand, kMemory | kBusMaster);
  Msix();
  MovedBar();
  HostileBar();
  Pin();
  FunctionReset();
  guest::Out8(0xcf9, 6);  // the reset register amid the ports of configuration
  guest::HaltForever();
}
