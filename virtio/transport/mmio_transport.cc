#include "virtio/transport/mmio_transport.h"

#include <utility>

#include "base/load_le.h"
#include "base/log.h"
#include "virtio/transport/mmio_registers.h"

namespace gemel::virtio {

Result<std::unique_ptr<MmioTransport>> MmioTransport::Create(Wiring wiring,
                                                             std::unique_ptr<VirtioDevice> device) {
  std::unique_ptr<MmioTransport> transport(new MmioTransport(std::move(wiring)));
  ASSIGN_OR_RETURN(transport->config_, CommonConfig::Create({.name = transport->wiring_.name,
                                                             .memory = transport->wiring_.memory,
                                                             .interrupts = &transport->interrupts_},
                                                            std::move(device)));
  RETURN_IF_ERROR(transport->RegisterKicks());
  return transport;
}

MmioTransport::~MmioTransport() {
  for (; registered_kicks_ > 0; --registered_kicks_) {
    const auto queue = static_cast<std::uint16_t>(registered_kicks_ - 1);
    const Status removed = wiring_.io_events->Remove(wiring_.base + mmio::kQueueNotify, queue,
                                                     config_->kick(queue).get());
    if (!removed)
      LOG_UNLIMITED(kWarning, wiring_.name, "remove io event: {}", removed.error().message);
  }
}

Status MmioTransport::RegisterKicks() {
  if (wiring_.io_events == nullptr) return {};
  for (; registered_kicks_ < config_->queue_count(); ++registered_kicks_) {
    const std::uint16_t queue = registered_kicks_;
    const Status added = wiring_.io_events->Add(wiring_.base + mmio::kQueueNotify, queue,
                                                config_->kick(queue).get());
    if (!added) return WithContext(added.error(), fmt::format("{}: queue {}", wiring_.name, queue));
  }
  return {};
}

// ---- interrupts ---------------------------------------------------------------------------------

MmioTransport::Interrupts::Interrupts(MmioTransport* owner)
    : owner_(owner), queue_(owner, mmio::kInterruptQueue), config_(owner, mmio::kInterruptConfig) {}

void MmioTransport::Interrupts::OnReset() { owner_->interrupt_status_ = 0; }

void MmioTransport::BitInterrupt::Trigger() {
  owner_->interrupt_status_.fetch_or(bit_);
  owner_->wiring_.line->Trigger();
}

// ---- registers ----------------------------------------------------------------------------------

void MmioTransport::Read(std::uint64_t offset, std::span<std::byte> data) {
  if (offset >= mmio::kConfig)
    return config_->ReadConfig(static_cast<std::uint32_t>(offset - mmio::kConfig), data);
  const bool legal = data.size() == sizeof(std::uint32_t) && offset % sizeof(std::uint32_t) == 0;
  StoreRegister(data, legal ? ReadRegister(offset) : 0);
}

std::uint32_t MmioTransport::ReadRegister(std::uint64_t offset) {
  switch (offset) {
    case mmio::kMagicValue:
      return mmio::kMagic;
    case mmio::kVersionRegister:
      return mmio::kVersion;
    case mmio::kDeviceId:
      return static_cast<std::uint32_t>(config_->device_type());
    case mmio::kVendorId:
      return mmio::kVendor;
    case mmio::kDeviceFeatures:
      return config_->ReadDeviceFeatures();
    case mmio::kQueueNumMax:
      return config_->ReadMaxQueueSize();
    case mmio::kQueueReady:
      return config_->ReadQueueReady() ? 1 : 0;
    case mmio::kInterruptStatus:
      return interrupt_status_;
    case mmio::kStatus:
      return config_->ReadStatus();
    case mmio::kShmLenLow:
    case mmio::kShmLenHigh:
    case mmio::kShmBaseLow:
    case mmio::kShmBaseHigh:
      return 0xffff'ffff;
    case mmio::kConfigGeneration:
      return config_->ReadConfigGeneration();
    default:
      return 0;
  }
}

void MmioTransport::Write(std::uint64_t offset, std::span<const std::byte> data) {
  if (offset >= mmio::kConfig)
    return config_->WriteConfig(static_cast<std::uint32_t>(offset - mmio::kConfig), data);
  if (data.size() != sizeof(std::uint32_t) || offset % sizeof(std::uint32_t) != 0) return;
  WriteRegister(offset, LoadLe32(data));
}

void MmioTransport::WriteRegister(std::uint64_t offset, std::uint32_t value) {
  switch (offset) {
    case mmio::kDeviceFeaturesSel:
      return config_->SelectDeviceFeatures(value);
    case mmio::kDriverFeatures:
      return config_->WriteDriverFeatures(value);
    case mmio::kDriverFeaturesSel:
      return config_->SelectDriverFeatures(value);
    case mmio::kQueueSel:
      return config_->SelectQueue(value);
    case mmio::kQueueNotify:
      return Notify(value);
    case mmio::kInterruptAck:
      interrupt_status_.fetch_and(~value);
      return;
    case mmio::kStatus:
      // Bits past the 8 that there are mean nothing, but make a value that is not 0.
      if (value != 0 && (value & 0xff) == 0) return;
      return config_->WriteStatus(static_cast<std::uint8_t>(value),
                                  CommonConfig::ResetWait::kBounded);
    default:
      return WriteQueueRegister(offset, value);
  }
}

void MmioTransport::WriteQueueRegister(std::uint64_t offset, std::uint32_t value) {
  switch (offset) {
    case mmio::kQueueNum:
      return config_->WriteQueueSize(value);
    case mmio::kQueueReady:
      return config_->WriteQueueReady((value & 1) != 0);
    case mmio::kQueueDescLow:
      return config_->WriteQueueAddress(QueuePart::kDescriptors, Half::kLow, value);
    case mmio::kQueueDescHigh:
      return config_->WriteQueueAddress(QueuePart::kDescriptors, Half::kHigh, value);
    case mmio::kQueueDriverLow:
      return config_->WriteQueueAddress(QueuePart::kDriverRing, Half::kLow, value);
    case mmio::kQueueDriverHigh:
      return config_->WriteQueueAddress(QueuePart::kDriverRing, Half::kHigh, value);
    case mmio::kQueueDeviceLow:
      return config_->WriteQueueAddress(QueuePart::kDeviceRing, Half::kLow, value);
    case mmio::kQueueDeviceHigh:
      return config_->WriteQueueAddress(QueuePart::kDeviceRing, Half::kHigh, value);
    default:
      return;
  }
}

void MmioTransport::Notify(std::uint32_t queue) {
  if (queue < config_->queue_count()) config_->kick(static_cast<std::uint16_t>(queue)).Signal();
}

}  // namespace gemel::virtio
