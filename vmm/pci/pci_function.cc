#include "vmm/pci/pci_function.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"

namespace gemel::pci {
namespace {

constexpr std::uint16_t kCommandBits = kCommandIo | kCommandMemory | kCommandBusMaster |
                                       kCommandParity | kCommandSerr | kCommandIntxDisable;

bool Touches(std::size_t offset, std::size_t size, std::size_t first, std::size_t length) {
  return offset < first + length && first < offset + size;
}

std::uint32_t BarTypeBits(BarKind kind) {
  switch (kind) {
    case BarKind::kIo:
      return kBarIo;
    case BarKind::kMemory32:
      return 0;
    case BarKind::kMemory64:
      return kBarMemory64;
    case BarKind::kMemory64Prefetchable:
      return kBarMemory64 | kBarPrefetchable;
  }
  return 0;
}

bool Is64(BarKind kind) {
  return kind == BarKind::kMemory64 || kind == BarKind::kMemory64Prefetchable;
}

}  // namespace

// ---- building -----------------------------------------------------------------------------------

Function::Function(std::string name, const Identity& identity)
    : name_(std::move(name)), is_bridge_(identity.header == Identity::Header::kBridge) {
  config_.Define(kVendorId, identity.vendor);
  config_.Define(kDeviceId, identity.device);
  config_.Define<std::uint16_t>(kCommand, 0, kCommandBits);
  config_.Define<std::uint16_t>(kStatus, 0);
  config_.Define(kRevision, identity.class_code << 8 | identity.revision);
  config_.Define<std::uint8_t>(kCacheLineSize, 0, 0xff);
  config_.Define(kHeaderType,
                 static_cast<std::uint8_t>(static_cast<std::uint8_t>(identity.header) |
                                           (identity.multifunction ? kHeaderMultifunction : 0)));
  config_.Define<std::uint8_t>(kInterruptLine, 0, 0xff);
  if (is_bridge_) return;
  config_.Define(kSubsystemVendorId, identity.subsystem_vendor);
  config_.Define(kSubsystemId, identity.subsystem);
}

void Function::AddBar(unsigned index, BarKind kind, std::uint64_t size, IoHandler* handler) {
  CHECK(index + (Is64(kind) ? 1 : 0) < (is_bridge_ ? 2 : kBars) && bars_[index].size == 0);
  CHECK(std::has_single_bit(size) && size >= (kind == BarKind::kIo ? 4 : 16));
  CHECK(Is64(kind) || size <= 1u << 31);
  Bar& bar = bars_[index];
  bar.function = this;
  bar.index = index;
  bar.kind = kind;
  bar.size = size;
  bar.handler = handler;
  const std::uint64_t address_bits = ~(size - 1);
  const std::size_t at = BarOffset(index);
  config_.Define(at, BarTypeBits(kind), static_cast<std::uint32_t>(address_bits));
  if (Is64(kind))
    config_.Define<std::uint32_t>(at + 4, 0, static_cast<std::uint32_t>(address_bits >> 32));
}

std::size_t Function::AddCapability(std::uint8_t id, std::size_t length) {
  const std::size_t at = next_capability_;
  CHECK(length <= ConfigSpace::kStored - at);
  next_capability_ = (at + length + 3) & ~std::size_t{3};
  config_.Define(at, id);
  config_.Define<std::uint8_t>(at + 1, 0);
  const std::size_t pointer = last_capability_ == 0 ? kCapabilities : last_capability_ + 1;
  config_.Define(pointer, static_cast<std::uint8_t>(at));
  config_.Define(kStatus, kStatusCapabilities);
  last_capability_ = at;
  return at;
}

void Function::AddPowerManagement() {
  power_ = AddCapability(kCapPowerManagement, kPmLength);
  config_.Define<std::uint16_t>(power_ + kPmCapabilities, 3);  // version; no D1, D2, PME
  config_.Define(power_ + kPmControl, kPmNoSoftReset, kPmStateMask);
}

void Function::AddIntegratedExpress() {
  express_ = AddCapability(kCapExpress, kExpLength);
  config_.Define<std::uint16_t>(express_ + kExpFlags, kExpVersion2 | kExpIntegratedEndpoint);
  config_.Define(express_ + kExpDeviceCapabilities, kExpRoleBasedErrors | kExpFunctionReset);
  config_.Define(express_ + kExpDeviceControl, kExpDeviceControlReset,
                 static_cast<std::uint16_t>(kExpDeviceControlBits | kExpInitiateReset));
}

void Function::AddMsix(unsigned bar, Msix* msix) {
  AddBar(bar, BarKind::kMemory32, msix->bar_size(), msix);
  msix_ = msix;
  msix_offset_ = AddCapability(kCapMsix, kMsixLength);
  config_.Define(msix_offset_ + kMsixControl, static_cast<std::uint16_t>(msix->vectors() - 1),
                 static_cast<std::uint16_t>(kMsixEnable | kMsixFunctionMask));
  config_.Define(msix_offset_ + kMsixTable, std::uint32_t{bar});
  config_.Define(msix_offset_ + kMsixPending, msix->pending_offset() | bar);
}

void Function::AddIntxPin(unsigned pin) {
  pin_ = pin;
  config_.Define(kInterruptPin, static_cast<std::uint8_t>(pin + 1));
}

std::optional<Function::BarInfo> Function::bar(unsigned index) const {
  if (index >= kBars || bars_[index].size == 0) return std::nullopt;
  return BarInfo{bars_[index].kind, bars_[index].size};
}

IoHandler* Function::bar_handler(unsigned index) const {
  return index < kBars && bars_[index].kind != BarKind::kIo ? bars_[index].handler : nullptr;
}

std::uint64_t Function::bar_size(unsigned index) const {
  return index < kBars ? bars_[index].size : 0;
}

// ---- the bus's side -----------------------------------------------------------------------------

void Function::Connect(Devfn devfn, Windows* windows, IntxRouter* router, IoBus* memory,
                       IoBus* ports) {
  windows_ = windows;
  for (Bar& bar : bars_) {
    if (bar.size == 0) continue;
    bar.window = windows->Add(bar.kind == BarKind::kIo ? ports : memory, bar.handler, &bar);
  }
  if (!pin_) return;
  intx_ = router->AddSource(PirqOf(devfn.device(), *pin_));
  router_ = router;
}

void Function::Disconnect() {
  for (Bar& bar : bars_) {
    if (bar.window != nullptr) windows_->Remove(std::exchange(bar.window, nullptr));
  }
}

void Function::ReadConfig(std::size_t offset, std::span<std::byte> data) {
  if (router_ != nullptr && Touches(offset, data.size(), kStatus, 2)) {
    const std::uint16_t rest = config_.Get<std::uint16_t>(kStatus) & ~kStatusInterrupt;
    config_.Set(kStatus, static_cast<std::uint16_t>(
                             rest | (router_->asserted(intx_) ? kStatusInterrupt : 0)));
  }
  OnRead(offset, data.size());
  config_.Read(offset, data);
}

void Function::WriteConfig(std::size_t offset, std::span<const std::byte> data) {
  config_.Write(offset, data);
  if (FunctionResetWritten(offset, data.size())) return Reset();
  Follow(offset, data.size());
  OnWritten(offset, data.size());
}

// PCIe 7.5.3.4: the bit starts a reset and reads 0.
bool Function::FunctionResetWritten(std::size_t offset, std::size_t size) {
  const std::size_t at = express_ + kExpDeviceControl;
  return express_ != 0 && Touches(offset, size, at, 2) &&
         (config_.Get<std::uint16_t>(at) & kExpInitiateReset) != 0;
}

void Function::Reset() {
  config_.Reset();
  SetIntx(false);
  FollowAll();
  if (msix_ != nullptr) msix_->Reset();
  OnReset();
}

// ---- what follows from the registers ------------------------------------------------------------

void Function::Follow(std::size_t offset, std::size_t size) {
  const bool command = Touches(offset, size, kCommand, 2);
  const bool power = power_ != 0 && Touches(offset, size, power_ + kPmControl, 2);
  if (command || power || Touches(offset, size, kBar0, BarOffset(kBars) - kBar0)) UpdateBars();
  if (command && router_ != nullptr) {
    router_->SetDisabled(intx_, (config_.Get<std::uint16_t>(kCommand) & kCommandIntxDisable) != 0);
  }
  const bool msix = msix_ != nullptr && Touches(offset, size, msix_offset_ + kMsixControl, 2);
  if (command || power || msix) UpdateMsix();
}

void Function::FollowAll() { Follow(0, ConfigSpace::kStored); }

bool Function::in_d0() const {
  return power_ == 0 || (config_.Get<std::uint16_t>(power_ + kPmControl) & kPmStateMask) == 0;
}

std::uint64_t Function::BarAddress(const Bar& bar) const {
  const std::size_t at = BarOffset(bar.index);
  std::uint64_t address = config_.Get<std::uint32_t>(at);
  if (Is64(bar.kind)) address |= std::uint64_t{config_.Get<std::uint32_t>(at + 4)} << 32;
  return address & ~(bar.size - 1);
}

void Function::UpdateBars() {
  const auto command = config_.Get<std::uint16_t>(kCommand);
  for (Bar& bar : bars_) {
    if (bar.window == nullptr) continue;
    const std::uint16_t decodes = bar.kind == BarKind::kIo ? kCommandIo : kCommandMemory;
    const std::uint64_t address = BarAddress(bar);
    if ((command & decodes) != 0 && in_d0() && address != 0) {
      windows_->Place(bar.window, address, bar.size);
    } else {
      windows_->Hide(bar.window);
    }
  }
}

void Function::UpdateMsix() {
  if (msix_ == nullptr) return;
  const auto control = config_.Get<std::uint16_t>(msix_offset_ + kMsixControl);
  const auto command = config_.Get<std::uint16_t>(kCommand);
  msix_->SetControl({.enabled = (control & kMsixEnable) != 0,
                     .masked = (control & kMsixFunctionMask) != 0,
                     .may_write = (command & kCommandBusMaster) != 0 && in_d0()});
  OnMsixControl();
}

void Function::SetIntx(bool asserted) {
  if (router_ != nullptr) router_->SetAsserted(intx_, asserted);
}

void Function::OnRead(std::size_t, std::size_t) {}
void Function::OnWritten(std::size_t, std::size_t) {}
void Function::OnBarMapped(unsigned, std::uint64_t) {}
void Function::OnBarUnmapped(unsigned, std::uint64_t) {}
void Function::OnMsixControl() {}
void Function::OnReset() {}

}  // namespace gemel::pci
