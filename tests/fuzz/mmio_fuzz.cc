// A hostile driver at the mmio register file, before a device that works its queues: activations
// and resets pair up, a reset's end leaves a register file as new, and nothing else happens to the
// VMM.
#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>

#include "base/check.h"
#include "base/log.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/fake_mmio_driver.h"
#include "tests/fuzz/echo_device.h"
#include "tests/fuzz/ring_bender.h"
#include "virtio/transport/mmio_transport.h"

namespace gemel::virtio {
namespace {

using testing::FakeDriverQueue;
using testing::FakeInterrupt;
using testing::FakeMmioDriver;
using testing::Rarely;
using testing::RingBender;
using EchoDevice = testing::EchoDevice<FuzzedDataProvider>;

constexpr std::uint64_t kRamEnd = 0x8000;

const GuestMemory& Ram() {
  static const std::array ranges{MemoryRange{GuestAddress{0}, kRamEnd}};
  static const auto memory = GuestMemory::Create(ranges, MemoryBacking::kAnonymous).value();
  return *memory;
}

class Session {
 public:
  explicit Session(FuzzedDataProvider& input) : input_(input) {
    std::memset(Ram().regions()[0].host, 0, kRamEnd);
    auto device = std::make_unique<EchoDevice>(input);
    device_ = device.get();
    transport_ =
        MmioTransport::Create(
            {.memory = &Ram(), .io_events = nullptr, .base = 0, .line = &line_, .name = "fuzz"},
            std::move(device))
            .value();
    transport_->set_reset_bound(std::chrono::milliseconds(0));
    driver_.emplace(*transport_);
  }
  ~Session() { device_->FinishAll(); }

  void Run() {
    while (input_.remaining_bytes() > 0) {
      Step();
      CHECK((driver_->Read(mmio::kInterruptStatus) & ~3u) == 0);
      CHECK(!device_->resetting() || driver_->status() == kStatusNeedsReset);
    }
  }

 private:
  void Step() {
    switch (input_.ConsumeIntegralInRange(0, 11)) {
      case 0:
        return driver_->Write(4 * input_.ConsumeIntegralInRange<std::uint64_t>(0, 0x41),
                              input_.ConsumeIntegral<std::uint32_t>());
      case 1:
        return RawAccess();
      case 2:
        return driver_->SetStatus(1u << input_.ConsumeIntegralInRange(0, 7));
      case 3:
        return driver_->Reset();
      case 4:
        driver_->Negotiate(kFeatureVersion1 | Bend(kFeatureEventIdx | kFeatureIndirectDesc | 1));
        return;
      case 5:
        return SetUpQueue();
      case 6:
        return driver_->Start(kFeatureVersion1 | kFeatureIndirectDesc, ring_.layout());
      case 7:
        return driver_->Notify(input_.ConsumeIntegral<std::uint8_t>());
      case 8:
        return device_->Work();
      case 9:
        return EndResets();
      case 10:
        return device_->Annoy();
      default:
        return bender_.Step();
    }
  }

  std::uint64_t Bend(std::uint64_t value) {
    return Rarely(input_) ? input_.ConsumeIntegral<std::uint64_t>() : value;
  }

  void RawAccess() {
    std::array<std::byte, 8> data{};
    const std::size_t width = std::size_t{1} << input_.ConsumeIntegralInRange(0, 3);
    const auto offset =
        input_.ConsumeIntegralInRange<std::uint64_t>(0, MmioTransport::kSize - width);
    if (input_.ConsumeBool()) return transport_->Read(offset, std::span(data).first(width));
    for (std::byte& byte : data) byte = std::byte{input_.ConsumeIntegral<std::uint8_t>()};
    transport_->Write(offset, std::span(data).first(width));
  }

  void SetUpQueue() {
    QueueLayout layout = ring_.layout();
    layout.size = static_cast<std::uint16_t>(Bend(layout.size));
    layout.descriptors.value = Bend(layout.descriptors.value);
    layout.driver_ring.value = Bend(layout.driver_ring.value);
    layout.device_ring.value = Bend(layout.device_ring.value);
    driver_->SetUpQueue(input_.ConsumeIntegralInRange(0u, 2u), layout);
  }

  void EndResets() {
    if (Rarely(input_)) transport_->ResetFromMachine([this] { ++machine_resets_; });
    const bool was_resetting = device_->resetting();
    device_->FinishReset();
    if (was_resetting) CHECK(driver_->status() == 0);
  }

  FuzzedDataProvider& input_;
  FakeInterrupt line_;
  FakeDriverQueue ring_{Ram(), 8, GuestAddress{0x100}};
  RingBender<FuzzedDataProvider> bender_{input_, ring_, kRamEnd};
  EchoDevice* device_ = nullptr;  // the transport's
  int machine_resets_ = 0;
  std::unique_ptr<MmioTransport> transport_;
  std::optional<FakeMmioDriver> driver_;
};

}  // namespace
}  // namespace gemel::virtio

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int silent = open("/dev/null", O_WRONLY | O_CLOEXEC);
  gemel::SetLogFd(silent);
  FuzzedDataProvider input(data, size);
  gemel::virtio::Session(input).Run();
  return 0;
}
