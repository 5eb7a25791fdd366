#include "vmm/pci/chipset.h"

#include <algorithm>

#include "base/load_le.h"
#include "vmm/pci/config_access.h"

namespace gemel::pci {
namespace {

constexpr std::uint16_t kIntel = 0x8086;

// ---- host bridge
constexpr std::uint32_t kClassHostBridge = 0x060000;
constexpr std::uint64_t kPciExBarDefault = 0xb0000000;
constexpr std::uint64_t kPciExBarBits = 0xf'fc00'0007;  // base 35:26, length 2:1, enable 0
constexpr std::size_t kSmram = 0x9d;
constexpr std::uint8_t kSmramDefault = 0x02;
constexpr std::uint8_t kSmramBits = 0x78;
constexpr std::size_t kEsmramc = 0x9e;
constexpr std::uint8_t kEsmramcDefault = 0x38;
constexpr std::uint8_t kEsmramcBits = 0x87;
constexpr std::size_t kTolud = 0xb0;
constexpr std::uint8_t kPam0Bits = 0x30;
constexpr std::uint8_t kPamBits = 0x33;

// ---- LPC bridge
constexpr std::uint32_t kClassIsaBridge = 0x060100;
constexpr std::uint32_t kPmBaseIo = 1;  // bit 0: an I/O base, read-only
constexpr std::uint32_t kPmBaseBits = 0xff80;
constexpr std::uint8_t kAcpiControlBits = 0x87;
constexpr std::uint8_t kPirqBits = 0x8f;
constexpr std::size_t kLpcIoDecode = 0x80;
constexpr std::size_t kGenPmcon = 0xa0;
constexpr std::uint32_t kRcbaEnable = 1;
constexpr std::uint32_t kRcbaBits = 0xffff'c001;

// ---- behind RCBA: 16-bit registers D31IR at 3140 to D25IR at 3150, four bits a pin: A to A …
constexpr std::uint64_t kFirstDxxIr = 0x3140, kEndOfDxxIr = 0x3152;
constexpr std::uint64_t kDxxIr = 0x3210;

constexpr Identity Mch() {
  return {.vendor = kIntel, .device = 0x29c0, .class_code = kClassHostBridge};
}
// It says that there are more functions, as there are in every ICH9: one may come.
constexpr Identity Ich9Lpc() {
  return {.vendor = kIntel,
          .device = 0x2918,
          .revision = 2,
          .class_code = kClassIsaBridge,
          .multifunction = true};
}

}  // namespace

// ---- host bridge --------------------------------------------------------------------------------

HostBridge::HostBridge(Root* root, IoBus* memory, IoHandler* ecam, ChipsetEvents* events)
    : Function("host-bridge", Mch()),
      root_(root),
      events_(events),
      ecam_(root->windows().Add(memory, ecam, nullptr)) {
  config().Define(kPciExBar, kPciExBarDefault, kPciExBarBits);
  config().Define<std::uint8_t>(kPam, 0, kPam0Bits);
  for (std::size_t i = 1; i < PamRegisters{}.size(); ++i)
    config().Define<std::uint8_t>(kPam + i, 0, kPamBits);
  config().Define(kSmram, kSmramDefault, kSmramBits);
  config().Define(kEsmramc, kEsmramcDefault, kEsmramcBits);
  config().Define<std::uint16_t>(kTolud, 0, 0xfff0);
}

void HostBridge::OnWritten(std::size_t offset, std::size_t size) {
  if (offset < kPciExBar + 8 && kPciExBar < offset + size) PlaceEcam();
  if (offset < kPam + PamRegisters{}.size() && kPam < offset + size) TellPam();
}

void HostBridge::OnReset() {
  PlaceEcam();
  TellPam();
}

// Length: 0 is 256 MiB, 1 is 128, 2 is 64, 3 is reserved. The base is a multiple of it.
void HostBridge::PlaceEcam() {
  const auto value = config().Get<std::uint64_t>(kPciExBar);
  const std::uint64_t length = value >> 1 & 3;
  if ((value & kPciExBarEnable) == 0 || length == 3) return root_->windows().Hide(ecam_);
  const std::uint64_t size = EcamHandler::kMaxSize >> length;
  root_->windows().Place(ecam_, value & kPciExBarBits & ~(size - 1), size);
}

void HostBridge::TellPam() {
  if (events_ == nullptr) return;
  PamRegisters pam;
  for (std::size_t i = 0; i < pam.size(); ++i) pam[i] = config().Get<std::uint8_t>(kPam + i);
  events_->OnPam(pam);
}

// ---- LPC bridge ---------------------------------------------------------------------------------

LpcBridge::LpcBridge(const Wiring& wiring)
    : Function("lpc-bridge", Ich9Lpc()),
      root_(wiring.root),
      pm_size_(wiring.pm_size),
      pm_(wiring.pm == nullptr ? nullptr : root_->windows().Add(wiring.ports, wiring.pm, nullptr)),
      rcba_(root_->windows().Add(wiring.memory, &root_complex_, nullptr)) {
  config().Define(kPmBase, kPmBaseIo, kPmBaseBits);
  config().Define<std::uint8_t>(kAcpiControl, 0, kAcpiControlBits);
  for (std::size_t i = 0; i < 4; ++i) {
    config().Define(kPirqA + i, IntxRouter::kRouteDisabled, kPirqBits);
    config().Define(kPirqE + i, IntxRouter::kRouteDisabled, kPirqBits);
  }
  config().Define<std::uint32_t>(kLpcIoDecode, 0, 0xffff'ffff);
  config().Define<std::uint32_t>(kGenPmcon, 0, 0xffff'ffff);
  config().Define<std::uint32_t>(kRcba, 0, kRcbaBits);
}

void LpcBridge::OnWritten(std::size_t, std::size_t) { Follow(); }
void LpcBridge::OnReset() { Follow(); }

void LpcBridge::Follow() {
  const std::uint32_t pm_base = config().Get<std::uint32_t>(kPmBase) & kPmBaseBits;
  const bool acpi = (config().Get<std::uint8_t>(kAcpiControl) & kAcpiEnable) != 0;
  if (pm_ != nullptr && acpi && pm_base != 0) {
    root_->windows().Place(pm_, pm_base, pm_size_);
  } else if (pm_ != nullptr) {
    root_->windows().Hide(pm_);
  }
  for (unsigned i = 0; i < kPirqs; ++i) {
    root_->intx().SetRoute(i, config().Get<std::uint8_t>(i < 4 ? kPirqA + i : kPirqE + i - 4));
  }
  const auto rcba = config().Get<std::uint32_t>(kRcba);
  if ((rcba & kRcbaEnable) != 0 && (rcba & ~kRcbaEnable) != 0) {
    root_->windows().Place(rcba_, rcba & ~kRcbaEnable, RootComplexRegisters::kSize);
  } else {
    root_->windows().Hide(rcba_);
  }
}

void LpcBridge::RootComplexRegisters::Read(std::uint64_t offset, std::span<std::byte> data) {
  for (std::size_t i = 0; i < data.size(); ++i) {
    const std::uint64_t at = offset + i;
    const bool route = at >= kFirstDxxIr && at < kEndOfDxxIr;
    data[i] = route ? static_cast<std::byte>(kDxxIr >> at % 2 * 8 & 0xff) : std::byte{0};
  }
}

}  // namespace gemel::pci
