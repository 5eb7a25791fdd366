// A hostile guest at a whole root complex: configuration by ports and by ECAM, BARs and live
// chipset registers moved onto each other while devices trigger. Both ways to configuration agree,
// what cannot change does not, and a BAR answers where its registers say or not at all.
#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "tests/fakes/fake_irq_lines.h"
#include "tests/fakes/fake_msi.h"
#include "tests/fuzz/ring_bender.h"
#include "vmm/pci/q35.h"

namespace gemel::pci {
namespace {

using testing::Rarely;

constexpr std::uint64_t kEcam = 0xb000'0000;
constexpr std::uint16_t kVectors = 4, kSources = 3;

class Page : public IoHandler {
 public:
  std::string_view name() const override { return "page"; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override {
    CHECK(offset < 0x4000 && 0x4000 - offset >= data.size());
    StoreRegister(data, 0x5a);
  }
  void Write(std::uint64_t offset, std::span<const std::byte> data) override {
    CHECK(offset < 0x4000 && 0x4000 - offset >= data.size());
  }
};

// BAR 0: 64-bit, 2: MSI-X, 3: 32-bit, 4: ports.
class Device final : public Function {
 public:
  Device(testing::FakeMsiAllocator* msis, unsigned pin)
      : Function("fuzz", {.vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000}),
        msix_(Msix::Create("fuzz", msis, kVectors, kSources).value()) {
    AddBar(0, BarKind::kMemory64Prefetchable, 0x4000, &page_);
    AddBar(3, BarKind::kMemory32, 0x1000, &page_);
    AddBar(4, BarKind::kIo, 0x40, &page_);
    AddIntxPin(pin);
    AddPowerManagement();
    AddIntegratedExpress();
    AddMsix(2, msix_.get());
  }
  using Function::SetIntx;
  Msix& msix() { return *msix_; }
  const std::array<std::optional<std::uint64_t>, kBars>& mapped() const { return mapped_; }

 protected:
  void OnBarMapped(unsigned index, std::uint64_t base) override {
    CHECK(!mapped_[index]);
    mapped_[index] = base;
  }
  void OnBarUnmapped(unsigned index, std::uint64_t base) override {
    CHECK(mapped_[index] == base);
    mapped_[index].reset();
  }
  void OnReset() override { CHECK(!msix_->enabled() && !mapped_[0] && !mapped_[4]); }

 private:
  Page page_;
  std::unique_ptr<Msix> msix_;
  std::array<std::optional<std::uint64_t>, kBars> mapped_;
};

class Session {
 public:
  explicit Session(FuzzedDataProvider& input) : input_(input) {
    q35_ = Q35::Create({.memory = &memory_,
                        .ports = &ports_,
                        .lines = &lines_,
                        .reset = &page_,
                        .pm = &page_,
                        .pm_size = 0x80})
               .value();
    for (unsigned i = 0; i < 3; ++i) {
      auto device = std::make_unique<Device>(&msis_, i);
      devices_.push_back(device.get());
      CHECK(q35_->Attach(i + 1, std::move(device)).has_value());
    }
    if (input_.ConsumeBool()) Program();
  }

  void Run() {
    while (input_.remaining_bytes() > 0) {
      Step();
      Verify();
    }
  }

 private:
  void Program() {
    CHECK(q35_->Program({.ecam = kEcam,
                         .pm_base = 0x600,
                         .resources = {.io = {0x1000, 0xf000},
                                       .memory32 = {0xc000'0000, 0x2000'0000},
                                       .memory64 = {0x40'0000'0000, 0x10'0000'0000}}})
              .has_value());
  }

  void Step() {
    switch (input_.ConsumeIntegralInRange(0, 9)) {
      case 0:
      case 1:
        return WriteConfig(AnyFunction(), AnyRegister());
      case 2:
        return WriteBar();
      case 3:
        return PortAccess();
      case 4:
        return MemoryAccess();
      case 5:
        return WriteChipset();
      case 6:
        return UseInterrupts();
      case 7:
        return SetCommand();
      case 8:
        if (!Rarely(input_)) return;
        q35_->Reset();
        if (input_.ConsumeBool()) Program();
        return;
      default:
        return BothWaysAgree();
    }
  }

  Devfn AnyFunction() {
    static constexpr Devfn kPlaces[] = {MakeDevfn(0, 0),    MakeDevfn(1, 0),    MakeDevfn(2, 0),
                                        MakeDevfn(3, 0),    MakeDevfn(0x1c, 0), MakeDevfn(0x1c, 7),
                                        MakeDevfn(0x1f, 0), MakeDevfn(0x1e, 0)};
    return input_.PickValueInArray(kPlaces);
  }
  std::uint16_t AnyRegister() { return input_.ConsumeIntegralInRange<std::uint16_t>(0, 0x103); }
  std::uint64_t AnyAddress() {
    static constexpr std::uint64_t kPlaces[] = {
        0,           0xa0000,     kEcam,       0xb010'0000, 0xc000'0000,   0xc000'1000,
        0xfec0'0000, 0xfee0'0000, 0xffff'f000, 1ull << 32,  0x40'0000'0000};
    if (Rarely(input_)) return input_.ConsumeIntegral<std::uint64_t>();
    return input_.PickValueInArray(kPlaces) + input_.ConsumeIntegralInRange(0u, 0x5000u);
  }
  static ConfigAddress At(Devfn devfn, std::size_t offset) {
    return {.bus = 0, .devfn = devfn, .offset = static_cast<std::uint16_t>(offset)};
  }
  std::array<std::byte, 8> Bytes() {
    std::array<std::byte, 8> data{};
    for (std::byte& byte : data) byte = std::byte{input_.ConsumeIntegral<std::uint8_t>()};
    return data;
  }

  void WriteConfig(Devfn devfn, std::uint16_t offset) {
    const std::size_t width = input_.ConsumeIntegralInRange<std::size_t>(1, 4);
    const auto data = Bytes();
    q35_->root().WriteConfig(At(devfn, offset), std::span(data).first(width));
  }

  void WriteBar() {
    const Devfn devfn = MakeDevfn(input_.ConsumeIntegralInRange(1u, 3u), 0);
    const std::uint64_t address = AnyAddress();
    const unsigned bar = input_.ConsumeIntegralInRange(0u, 4u);
    q35_->root().Set(At(devfn, kBar0 + 4 * bar), static_cast<std::uint32_t>(address));
    if (bar == 0) q35_->root().Set(At(devfn, kBar0 + 4), static_cast<std::uint32_t>(address >> 32));
  }

  void SetCommand() {
    const Devfn devfn = MakeDevfn(input_.ConsumeIntegralInRange(1u, 3u), 0);
    q35_->root().Set(At(devfn, kCommand), input_.ConsumeIntegralInRange<std::uint16_t>(0, 0x407));
  }

  void WriteChipset() {
    static constexpr std::uint16_t kHost[] = {0x60, 0x64, 0x90, 0x94, 0x9d};
    static constexpr std::uint16_t kLpc[] = {0x40, 0x44, 0x60, 0x68, 0xf0};
    const bool host = input_.ConsumeBool();
    const auto value = static_cast<std::uint32_t>(AnyAddress() | input_.ConsumeBool());
    q35_->root().Set(At(host ? MakeDevfn(0, 0) : LpcBridge::kDevfn,
                        host ? input_.PickValueInArray(kHost) : input_.PickValueInArray(kLpc)),
                     value);
  }

  void PortAccess() {
    auto data = Bytes();
    const std::size_t width = std::size_t{1} << input_.ConsumeIntegralInRange(0, 2);
    const std::uint64_t port = Rarely(input_) ? input_.ConsumeIntegral<std::uint16_t>()
                                              : input_.ConsumeIntegralInRange(0xcf8u, 0xcffu);
    if (input_.ConsumeBool()) {
      ports_.Read(port, std::span(data).first(width));
    } else {
      ports_.Write(port, std::span(data).first(width));
    }
  }

  void MemoryAccess() {
    auto data = Bytes();
    const std::size_t width = input_.ConsumeIntegralInRange<std::size_t>(1, 8);
    const std::uint64_t address = AnyAddress();
    if (input_.ConsumeBool()) {
      memory_.Read(address, std::span(data).first(width));
    } else {
      memory_.Write(address, std::span(data).first(width));
    }
  }

  void UseInterrupts() {
    Device& device = *devices_[input_.ConsumeIntegralInRange<std::size_t>(0, 2)];
    const auto source = input_.ConsumeIntegralInRange<std::uint16_t>(0, kSources - 1);
    if (input_.ConsumeBool()) device.SetIntx(input_.ConsumeBool());
    if (input_.ConsumeBool())
      device.msix().Bind(source, input_.ConsumeIntegralInRange<std::uint16_t>(0, kVectors + 1));
    device.msix().Trigger(source);
  }

  void BothWaysAgree() {
    const Devfn devfn = AnyFunction();
    const std::uint32_t offset = input_.ConsumeIntegralInRange(0u, 63u) * 4;
    EcamHandler ecam(&q35_->root());
    std::array<std::byte, 4> one, other;
    ecam.Read(std::uint64_t{devfn.value} << 12 | offset, one);
    StoreLe(std::span(other), 0, 0x8000'0000u | std::uint32_t{devfn.value} << 8 | offset);
    ports_.Write(0xcf8, other);
    ports_.Read(0xcfc, other);
    CHECK(one == other);
  }

  void Verify() {
    Root& root = q35_->root();
    CHECK(root.Get<std::uint32_t>(At(MakeDevfn(0, 0), 0)) == 0x29c0'8086u);
    CHECK(root.Get<std::uint32_t>(At(LpcBridge::kDevfn, 0)) == 0x2918'8086u);
    for (unsigned i = 0; i < devices_.size(); ++i) VerifyDevice(MakeDevfn(i + 1, 0), *devices_[i]);
    for (const std::uint32_t gsi : lines_.up()) CHECK(gsi < 24 && gsi != 8 && gsi > 2);
  }

  void VerifyDevice(Devfn devfn, const Device& device) {
    Root& root = q35_->root();
    CHECK(root.Get<std::uint32_t>(At(devfn, 0)) == 0x5678'1234u);
    const auto command = root.Get<std::uint16_t>(At(devfn, kCommand));
    for (unsigned i = 0; i < Function::kBars; ++i) {
      if (!device.mapped()[i]) continue;
      CHECK((command & (i == 4 ? kCommandIo : kCommandMemory)) != 0);
      std::uint64_t address = root.Get<std::uint32_t>(At(devfn, kBar0 + 4 * i)) & ~0xfull;
      if (i == 0) address |= std::uint64_t{root.Get<std::uint32_t>(At(devfn, kBar0 + 4))} << 32;
      CHECK(address == *device.mapped()[i]);
      std::array<std::byte, 1> data;
      CHECK((i == 4 ? ports_ : memory_).Read(address, data));
    }
  }

  FuzzedDataProvider& input_;
  IoBus memory_, ports_;
  testing::FakeIrqLines lines_;
  testing::FakeMsiAllocator msis_;
  Page page_;
  std::unique_ptr<Q35> q35_;
  std::vector<Device*> devices_;  // the root's
};

}  // namespace
}  // namespace gemel::pci

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int silent = open("/dev/null", O_WRONLY | O_CLOEXEC);
  gemel::SetLogFd(silent);
  FuzzedDataProvider input(data, size);
  gemel::pci::Session(input).Run();
  return 0;
}
