#include "virtio/transport/pci_transport.h"

#include <array>
#include <utility>

#include "base/check.h"
#include "base/load_le.h"
#include "base/log.h"
#include "virtio/transport/pci_layout.h"

namespace gemel::virtio {
namespace {

namespace reg = pci_layout;

constexpr std::uint16_t kConfigSource = 0;

// Class, sub-class, interface (PCI Code and ID Assignment 1.11).
std::uint32_t ClassCode(DeviceType type) {
  switch (type) {
    case DeviceType::kNet:
      return 0x020000;  // Ethernet
    case DeviceType::kBlock:
      return 0x018000;  // mass storage, other
    case DeviceType::kScsi:
      return 0x010000;
    case DeviceType::kConsole:
    case DeviceType::kVsock:
      return 0x078000;  // communication, other
    case DeviceType::kEntropy:
    case DeviceType::kBalloon:
      break;
  }
  return 0x00ff00;  // no class
}

pci::Identity IdentityOf(DeviceType type) {
  const auto id =
      static_cast<std::uint16_t>(reg::kFirstModernDevice + static_cast<std::uint32_t>(type));
  return {.vendor = reg::kVendor,
          .device = id,
          .revision = reg::kRevision,
          .class_code = ClassCode(type),
          .subsystem_vendor = reg::kVendor,
          .subsystem = id};
}

}  // namespace

// ---- building -----------------------------------------------------------------------------------

Result<std::unique_ptr<PciTransport>> PciTransport::Create(Wiring wiring,
                                                           std::unique_ptr<VirtioDevice> device) {
  CHECK(device->queue_sizes().size() <= reg::kMaxQueues);
  const auto queues = static_cast<std::uint16_t>(device->queue_sizes().size());
  const auto sources = static_cast<std::uint16_t>(queues + 1);
  ASSIGN_OR_RETURN(std::unique_ptr<pci::Msix> msix,
                   pci::Msix::Create(wiring.name, wiring.msis, sources, sources));
  std::unique_ptr<PciTransport> transport(
      new PciTransport(std::move(wiring), device->type(), std::move(msix), queues));
  ASSIGN_OR_RETURN(transport->config_, CommonConfig::Create({.name = transport->name(),
                                                             .memory = transport->wiring_.memory,
                                                             .interrupts = &transport->interrupts_},
                                                            std::move(device)));
  return transport;
}

PciTransport::PciTransport(Wiring wiring, DeviceType type, std::unique_ptr<pci::Msix> msix,
                           std::uint16_t queues)
    : Function(wiring.name, IdentityOf(type)),
      wiring_(std::move(wiring)),
      msix_(std::move(msix)),
      kicks_registered_(queues) {
  for (std::uint16_t source = 0; source <= queues; ++source)
    sources_.push_back(std::make_unique<SourceInterrupt>(this, source));
  AddBar(reg::kBar, pci::BarKind::kMemory64, reg::kBarSize, &registers_);
  AddIntxPin(0);
  AddPowerManagement();
  AddIntegratedExpress();
  AddMsix(reg::kMsixBar, msix_.get());
  AddVirtioCapabilities(queues);
}

PciTransport::~PciTransport() = default;

void PciTransport::AddVirtioCapabilities(std::uint16_t queues) {
  AddVirtioCapability(reg::kCapCommon, reg::kCapFixed, reg::kCommon, reg::kCommonLength);
  AddVirtioCapability(reg::kCapIsr, reg::kCapFixed, reg::kIsr, reg::kIsrLength);
  AddVirtioCapability(reg::kCapDevice, reg::kCapFixed, reg::kDeviceConfig,
                      reg::kDeviceConfigLength);
  const std::size_t notify = AddVirtioCapability(reg::kCapNotify, reg::kCapFixed + 4, reg::kNotify,
                                                 queues * reg::kNotifyMultiplier);
  config().Define(notify + reg::kCapExtra, reg::kNotifyMultiplier);

  // 4.1.4.9: the driver chooses what the last four bytes of this one are.
  window_ = AddVirtioCapability(reg::kCapPciConfig, reg::kCapFixed + 4, 0, 0);
  config().Define<std::uint8_t>(window_ + reg::kCapBar, 0, 0xff);
  config().Define<std::uint32_t>(window_ + reg::kCapOffset, 0, 0xffff'ffff);
  config().Define<std::uint32_t>(window_ + reg::kCapSize, 0, 0xffff'ffff);
  config().Define<std::uint32_t>(window_ + reg::kCapExtra, 0, 0xffff'ffff);
}

std::size_t PciTransport::AddVirtioCapability(std::uint8_t type, std::size_t length,
                                              std::uint32_t offset, std::uint32_t size) {
  const std::size_t at = AddCapability(pci::kCapVendor, length);
  config().Define(at + reg::kCapLength, static_cast<std::uint8_t>(length));
  config().Define(at + reg::kCapType, type);
  config().Define<std::uint8_t>(at + reg::kCapBar, reg::kBar);
  config().Define(at + reg::kCapOffset, offset);
  config().Define(at + reg::kCapSize, size);
  return at;
}

// ---- interrupts ---------------------------------------------------------------------------------

void PciTransport::SourceInterrupt::Trigger() {
  const bool msix = owner_->msix_->enabled();
  // 4.1.4.5.1: the configuration bit in any case, the queue bit only without MSI-X.
  if (source_ == kConfigSource) {
    owner_->RaiseIsr(reg::kIsrConfig);
  } else if (!msix) {
    owner_->RaiseIsr(reg::kIsrQueue);
  }
  if (msix) owner_->msix_->Trigger(source_);
}

int PciTransport::SourceInterrupt::event_fd() const {
  return owner_->msix_->enabled() ? owner_->msix_->event_fd(source_) : -1;
}

void PciTransport::Interrupts::OnReset() {
  for (std::uint16_t i = 0; i < owner_->msix_->vectors(); ++i)
    owner_->msix_->Bind(i, pci::Msix::kNoVector);
  owner_->TakeIsr();
}

void PciTransport::OnMsixControl() {
  const MutexLock lock(isr_mutex_);
  UpdatePinLocked();
}

void PciTransport::RaiseIsr(std::uint8_t bit) {
  const MutexLock lock(isr_mutex_);
  isr_ |= bit;
  UpdatePinLocked();
}

// 4.1.4.5: reading it clears it and lets go of the pin.
std::uint8_t PciTransport::TakeIsr() {
  const MutexLock lock(isr_mutex_);
  const std::uint8_t isr = std::exchange(isr_, std::uint8_t{0});
  UpdatePinLocked();
  return isr;
}

// PCIe 6.1.4: a function whose MSI-X is enabled does not use its pin.
void PciTransport::UpdatePinLocked() { SetIntx(isr_ != 0 && !msix_->enabled()); }

// ---- what follows from configuration space ------------------------------------------------------

void PciTransport::OnBarMapped(unsigned index, std::uint64_t base) {
  if (index != reg::kBar || wiring_.io_events == nullptr) return;
  for (std::uint16_t queue = 0; queue < config_->queue_count(); ++queue) {
    const Status added = wiring_.io_events->Add(base + reg::NotifyOffset(queue), std::nullopt,
                                                config_->kick(queue).get());
    kicks_registered_[queue] = added.has_value();
    // A kick then comes through the BAR, and is only slower.
    if (!added) LOG(kWarning, name(), "queue {}: {}", queue, added.error().message);
  }
}

void PciTransport::OnBarUnmapped(unsigned index, std::uint64_t base) {
  if (index != reg::kBar) return;
  for (std::uint16_t queue = 0; queue < config_->queue_count(); ++queue) {
    if (!kicks_registered_[queue]) continue;
    kicks_registered_[queue] = false;
    const Status removed = wiring_.io_events->Remove(base + reg::NotifyOffset(queue), std::nullopt,
                                                     config_->kick(queue).get());
    if (!removed) LOG(kWarning, name(), "remove io event: {}", removed.error().message);
  }
}

void PciTransport::OnReset() {
  config_->Reset([] {});
}

bool PciTransport::IsWindowData(std::size_t offset, std::size_t size) const {
  const std::size_t data = window_ + reg::kCapExtra;
  return offset < data + sizeof(std::uint32_t) && data < offset + size;
}

PciTransport::ConfigWindow PciTransport::OpenConfigWindow() const {
  const unsigned bar = config().Get<std::uint8_t>(window_ + reg::kCapBar);
  const auto offset = config().Get<std::uint32_t>(window_ + reg::kCapOffset);
  const auto length = config().Get<std::uint32_t>(window_ + reg::kCapSize);
  // 4.1.4.9.1: 1, 2 or 4 bytes, at a multiple of that.
  if ((length != 1 && length != 2 && length != 4) || offset % length != 0) return {};
  if (bar_handler(bar) == nullptr || offset >= bar_size(bar)) return {};
  return {bar_handler(bar), offset, length};
}

void PciTransport::OnRead(std::size_t offset, std::size_t size) {
  if (!IsWindowData(offset, size)) return;
  const ConfigWindow window = OpenConfigWindow();
  if (window.handler == nullptr) return;
  std::array<std::byte, sizeof(std::uint32_t)> data{};
  window.handler->Read(window.offset, std::span(data).first(window.length));
  config().Set(window_ + reg::kCapExtra, LoadLe32(data));
}

void PciTransport::OnWritten(std::size_t offset, std::size_t size) {
  if (!IsWindowData(offset, size)) return;
  const ConfigWindow window = OpenConfigWindow();
  if (window.handler == nullptr) return;
  std::array<std::byte, sizeof(std::uint32_t)> data;
  StoreLe(std::span(data), 0, config().Get<std::uint32_t>(window_ + reg::kCapExtra));
  window.handler->Write(window.offset, std::span(data).first(window.length));
}

// ---- BAR 0 --------------------------------------------------------------------------------------

void PciTransport::RegisterFile::Read(std::uint64_t offset, std::span<std::byte> data) {
  if (offset >= reg::kNotify) return StoreRegister(data, 0);
  if (offset >= reg::kDeviceConfig)
    return owner_->config_->ReadConfig(static_cast<std::uint32_t>(offset - reg::kDeviceConfig),
                                       data);
  if (offset >= reg::kIsr) return StoreRegister(data, offset == reg::kIsr ? owner_->TakeIsr() : 0);
  if (data.size() == 8 && offset % 8 == 0) {
    StoreLe(data, 0, owner_->ReadCommon(offset, 4));
    return StoreLe(data, 4, owner_->ReadCommon(offset + 4, 4));
  }
  StoreRegister(data, owner_->ReadCommon(offset, data.size()));
}

void PciTransport::RegisterFile::Write(std::uint64_t offset, std::span<const std::byte> data) {
  if (offset >= reg::kNotify) {
    const std::uint64_t queue = (offset - reg::kNotify) / reg::kNotifyMultiplier;
    if (queue < owner_->config_->queue_count())
      owner_->config_->kick(static_cast<std::uint16_t>(queue)).Signal();
    return;
  }
  if (offset >= reg::kDeviceConfig)
    return owner_->config_->WriteConfig(static_cast<std::uint32_t>(offset - reg::kDeviceConfig),
                                        data);
  if (offset >= reg::kIsr) return;
  if (data.size() == 8 && offset % 8 == 0) {
    owner_->WriteCommon(offset, 4, LoadLe32(data, 0));
    return owner_->WriteCommon(offset + 4, 4, LoadLe32(data, 4));
  }
  if (data.size() <= 4)
    owner_->WriteCommon(offset, data.size(), static_cast<std::uint32_t>(LoadRegister(data)));
}

}  // namespace gemel::virtio
