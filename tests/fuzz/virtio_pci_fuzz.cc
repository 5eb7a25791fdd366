// A hostile driver at a virtio device on PCI: its registers by BAR and by the window in
// configuration space, its BARs, MSI-X and resets of both kinds, before a device that works its
// queues. What KVM would be told stays true to what the registers say.
#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <cstring>
#include <memory>
#include <optional>

#include "base/check.h"
#include "base/log.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_io_event_registrar.h"
#include "tests/fakes/fake_irq_lines.h"
#include "tests/fakes/fake_msi.h"
#include "tests/fakes/fake_pci_driver.h"
#include "tests/fuzz/echo_device.h"
#include "tests/fuzz/ring_bender.h"
#include "virtio/transport/pci_layout.h"
#include "virtio/transport/pci_transport.h"
#include "vmm/pci/pci_root.h"

namespace gemel::virtio {
namespace {

namespace reg = pci_layout;
using testing::FakeDriverQueue;
using testing::FakePciDriver;
using testing::Rarely;
using testing::RingBender;
using EchoDevice = testing::EchoDevice<FuzzedDataProvider>;

constexpr std::uint64_t kRamEnd = 0x8000;
constexpr unsigned kSlot = 1;
constexpr std::uint32_t kIntxGsi = pci::IntxGsi(kSlot, 0);
constexpr std::uint32_t kBars[] = {0xc000'0000, 0xc000'4000, 0xd000'0000};

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
    auto transport = PciTransport::Create(
        {.memory = &Ram(), .io_events = &io_events_, .msis = &msis_, .name = "fuzz"},
        std::move(device));
    transport_ = transport->get();
    CHECK(root_.Attach(pci::MakeDevfn(kSlot, 0), *std::move(transport)).has_value());
    driver_.emplace(transport_->registers());
  }
  ~Session() { device_->FinishAll(); }

  void Run() {
    Set<std::uint32_t>(pci::kBar0, kBars[0]);
    Set<std::uint32_t>(0x18, kBars[2]);
    Set<std::uint16_t>(pci::kCommand, pci::kCommandMemory | pci::kCommandBusMaster);
    while (input_.remaining_bytes() > 0) {
      Step();
      Verify();
    }
  }

 private:
  static pci::ConfigAddress At(std::size_t offset) {
    return {
        .bus = 0, .devfn = pci::MakeDevfn(kSlot, 0), .offset = static_cast<std::uint16_t>(offset)};
  }
  template <class T>
  T Get(std::size_t offset) {
    return root_.Get<T>(At(offset));
  }
  template <class T>
  void Set(std::size_t offset, std::type_identity_t<T> value) {
    root_.Set<T>(At(offset), value);
  }

  void Step() {
    switch (input_.ConsumeIntegralInRange(0, 14)) {
      case 0:
        return driver_->Write<std::uint32_t>(4 * input_.ConsumeIntegralInRange(0u, 15u),
                                             input_.ConsumeIntegral<std::uint32_t>());
      case 1:
        return driver_->Write<std::uint16_t>(2 * input_.ConsumeIntegralInRange(8u, 15u),
                                             input_.ConsumeIntegralInRange<std::uint16_t>(0, 4));
      case 2:
        return RawAccess();
      case 3:
        return driver_->SetStatus(
            static_cast<std::uint8_t>(1u << input_.ConsumeIntegralInRange(0, 7)));
      case 4:
        return driver_->Reset();
      case 5:
        return SetUpQueue();
      case 6:
        return driver_->Start(kFeatureVersion1 | kFeatureIndirectDesc, ring_.layout(),
                              input_.ConsumeIntegralInRange<std::uint16_t>(0, 3));
      case 7:
        return driver_->Notify(input_.ConsumeIntegral<std::uint8_t>());
      case 8:
        return device_->Work();
      case 9:
        return EndResets();
      case 10:
        return device_->Annoy();
      case 11:
        return ConfigWrite();
      case 12:
        return ChangeMsix();
      case 13:
        return MoveBar();
      default:
        return bender_.Step();
    }
  }

  // Of the BAR that is anywhere, or of the registers behind it.
  void RawAccess() {
    std::array<std::byte, 8> data{};
    const std::size_t width = std::size_t{1} << input_.ConsumeIntegralInRange(0, 3);
    const auto offset = input_.ConsumeIntegralInRange<std::uint64_t>(0, reg::kBarSize - width);
    const std::uint64_t at = input_.PickValueInArray(kBars) + offset;
    if (input_.ConsumeBool()) {
      memory_.Read(at, std::span(data).first(width));
      return;
    }
    for (std::byte& byte : data) byte = std::byte{input_.ConsumeIntegral<std::uint8_t>()};
    memory_.Write(at, std::span(data).first(width));
  }

  void ConfigWrite() {
    std::array<std::byte, 4> data{};
    const std::size_t width = input_.ConsumeIntegralInRange<std::size_t>(1, 4);
    const auto offset = input_.ConsumeIntegralInRange<std::uint16_t>(0, 0x104);
    for (std::byte& byte : data) byte = std::byte{input_.ConsumeIntegral<std::uint8_t>()};
    if (Rarely(input_)) return root_.ReadConfig(At(offset), std::span(data).first(width));
    root_.WriteConfig(At(offset), std::span(data).first(width));
  }

  void ChangeMsix() {
    const std::size_t at = Find(pci::kCapMsix) + pci::kMsixControl;
    Set<std::uint16_t>(at, input_.ConsumeIntegral<std::uint16_t>());
    std::array<std::byte, 16> entry{};
    entry[0] = std::byte{input_.ConsumeIntegral<std::uint8_t>()};
    entry[12] = std::byte{input_.ConsumeIntegral<std::uint8_t>()};
    const std::uint64_t vector = input_.ConsumeIntegralInRange(0u, 3u);
    transport_->msix().Write(vector * 16, std::span(entry).first(8));
    transport_->msix().Write(vector * 16 + 8, std::span(entry).last(8));
  }

  void MoveBar() {
    Set<std::uint32_t>(input_.ConsumeBool() ? pci::kBar0 : 0x18, input_.PickValueInArray(kBars));
    Set<std::uint16_t>(pci::kCommand, input_.ConsumeIntegral<std::uint16_t>() |
                                          (Rarely(input_) ? 0 : pci::kCommandMemory));
  }

  void SetUpQueue() {
    QueueLayout layout = ring_.layout();
    if (Rarely(input_)) layout.size = input_.ConsumeIntegral<std::uint16_t>();
    if (Rarely(input_)) layout.descriptors.value = input_.ConsumeIntegral<std::uint64_t>();
    driver_->Negotiate(kFeatureVersion1 | input_.ConsumeIntegralInRange<std::uint64_t>(0, 7));
    driver_->SetUpQueue(input_.ConsumeIntegralInRange<std::uint16_t>(0, 2), layout,
                        input_.ConsumeIntegralInRange<std::uint16_t>(0, 3));
  }

  void EndResets() {
    if (Rarely(input_)) transport_->ResetFromMachine([] {});
    if (Rarely(input_))
      Set<std::uint8_t>(Find(pci::kCapExpress) + pci::kExpDeviceControl + 1, 0x80);
    const bool was_resetting = device_->resetting();
    device_->FinishReset();
    if (was_resetting) CHECK(driver_->status() == 0);
  }

  std::size_t Find(std::uint8_t id) {
    std::size_t at = Get<std::uint8_t>(pci::kCapabilities);
    for (int i = 0; Get<std::uint8_t>(at) != id; ++i) {
      CHECK(i < 48 && at != 0);
      at = Get<std::uint8_t>(at + 1);
    }
    return at;
  }

  void Verify() {
    CHECK(Get<std::uint32_t>(0) == 0x1044'1af4u);
    CHECK(!device_->resetting() || driver_->status() == kStatusNeedsReset);
    const bool pin = (Get<std::uint16_t>(pci::kStatus) & pci::kStatusInterrupt) != 0;
    const bool disabled = (Get<std::uint16_t>(pci::kCommand) & pci::kCommandIntxDisable) != 0;
    CHECK(lines_.up().contains(kIntxGsi) == (pin && !disabled));
    const std::uint16_t msix = Get<std::uint16_t>(Find(pci::kCapMsix) + pci::kMsixControl);
    const bool enabled = (msix & pci::kMsixEnable) != 0;
    CHECK(!enabled || !pin);
    for (const testing::FakeMsi* msi : msis_.made)
      CHECK(!msi->message() || (enabled && (msix & pci::kMsixFunctionMask) == 0));
    VerifyIoEvents();
  }

  // Both queues where BAR 0 is, or none.
  void VerifyIoEvents() {
    const auto& entries = io_events_.entries();
    if (entries.empty()) return;
    CHECK((Get<std::uint16_t>(pci::kCommand) & pci::kCommandMemory) != 0);
    const std::uint64_t bar = std::uint64_t{Get<std::uint32_t>(pci::kBar0 + 4)} << 32 |
                              (Get<std::uint32_t>(pci::kBar0) & ~0xfu);
    CHECK(entries.size() == 2);
    CHECK(entries[0].address == bar + reg::kNotify && entries[1].address == bar + reg::kNotify + 4);
  }

  FuzzedDataProvider& input_;
  FakeDriverQueue ring_{Ram(), 8, GuestAddress{0x100}};
  RingBender<FuzzedDataProvider> bender_{input_, ring_, kRamEnd};
  testing::FakeIoEventRegistrar io_events_;
  testing::FakeMsiAllocator msis_;
  testing::FakeIrqLines lines_;
  IoBus memory_, ports_;
  pci::Root root_{&memory_, &ports_, &lines_};
  EchoDevice* device_ = nullptr;       // the transport's
  PciTransport* transport_ = nullptr;  // the root's
  std::optional<FakePciDriver> driver_;
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
