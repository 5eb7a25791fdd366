// A guest that does anything to the serial port's registers while its other end types, stalls and
// takes what it likes. The port may hold back or lose what the guest wrote against its rules, but
// never invents anything, never delivers more than was written, and never leaves an interrupt
// unannounced.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>

#include "base/check.h"
#include "tests/fakes/fake_interrupt.h"
#include "vmm/devices/serial.h"

namespace gemel {
namespace {

class Backend final : public SerialBackend {
 public:
  void Connect(SerialPort* port) override { port_ = port; }
  std::size_t Write(std::span<const std::byte> bytes) override {
    const std::size_t taken = std::min(bytes.size(), room);
    room -= taken;
    delivered += taken;
    stalled = taken < bytes.size();
    return taken;
  }
  void WantInput() override { ++wants; }
  void WaitForRoom(int) override { room = SIZE_MAX; }
  SerialPort& port() { return *port_; }

  std::size_t room = SIZE_MAX;
  std::size_t delivered = 0;
  bool stalled = false;
  int wants = 0;

 private:
  SerialPort* port_ = nullptr;
};

struct Machine {
  explicit Machine(EventLoop* loop) {
    auto owned = std::make_unique<Backend>();
    backend = owned.get();
    auto made = Serial::Create("com1", loop, &irq, std::move(owned));
    CHECK(made.has_value());
    serial = *std::move(made);
  }
  std::uint8_t In(std::uint64_t offset) {
    std::byte byte{};
    serial->Read(offset, std::span(&byte, 1));
    return std::to_integer<std::uint8_t>(byte);
  }

  testing::FakeInterrupt irq;
  Backend* backend = nullptr;
  std::unique_ptr<Serial> serial;
};

void Type(FuzzedDataProvider& input, Machine& machine) {
  const std::size_t room = machine.backend->port().RoomForInput();
  CHECK(room <= 16);
  // Now and then more than there is room for: the guest may take the room away meanwhile.
  const auto bytes = input.ConsumeBytes<std::byte>(
      input.ConsumeIntegralInRange<std::size_t>(0, input.ConsumeBool() ? room : 20));
  machine.backend->port().Receive(bytes);
}

void Step(FuzzedDataProvider& input, Machine& machine, std::size_t* written) {
  const std::uint64_t offset = input.ConsumeIntegralInRange<std::uint64_t>(0, 7);
  switch (input.ConsumeIntegralInRange(0, 7)) {
    case 0:
    case 1: {
      const std::byte value{input.ConsumeIntegral<std::uint8_t>()};
      if (offset == 0) ++*written;
      return machine.serial->Write(offset, std::span(&value, 1));
    }
    case 2:
    case 3:
      return static_cast<void>(machine.In(offset));
    case 4:
      return Type(input, machine);
    case 5:
      machine.backend->room = input.ConsumeIntegralInRange<std::size_t>(0, 300);
      return machine.backend->port().OutputReady();
    case 6:
      return machine.serial->SendBreak();
    default:
      return machine.serial->Reset();
  }
}

void Run(FuzzedDataProvider& input) {
  static const auto loop = EventLoop::Create();
  Machine machine(loop->get());
  std::size_t written = 0;
  while (input.remaining_bytes() > 0) {
    const int before = machine.irq.count();
    const bool pended = (machine.In(2) & 1) == 0;
    Step(input, machine, &written);
    // A level that rose was announced. (Reading IIR above may itself have ended a THRE interrupt.)
    if (!pended && (machine.In(2) & 1) == 0) CHECK(machine.irq.count() > before);
    CHECK(machine.backend->delivered <= written);
  }
  machine.serial->Drain(1000);
  CHECK(!machine.backend->stalled);
}

}  // namespace
}  // namespace gemel

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  gemel::Run(input);
  return 0;
}
