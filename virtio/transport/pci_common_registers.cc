// The registers of common configuration (virtio 1.2, 4.1.4.3): offset and width to CommonConfig.
#include "virtio/transport/pci_layout.h"
#include "virtio/transport/pci_transport.h"

namespace gemel::virtio {
namespace {

namespace reg = pci_layout;

// A register's place and width in one value, so that an access of another width is of no register.
constexpr std::uint64_t Key(std::uint64_t offset, std::size_t size) { return offset << 4 | size; }

struct AddressHalf {
  QueuePart part;
  Half half;
};
// REQUIRES: one of the six dwords of queue_desc, queue_driver and queue_device.
constexpr AddressHalf AddressAt(std::uint64_t offset) {
  return {static_cast<QueuePart>((offset - reg::kQueueDesc) / 8),
          offset % 8 == 0 ? Half::kLow : Half::kHigh};
}
constexpr bool IsAddress(std::uint64_t offset, std::size_t size) {
  return size == 4 && offset % 4 == 0 && offset >= reg::kQueueDesc && offset < reg::kCommonLength;
}

}  // namespace

std::uint32_t PciTransport::ReadCommon(std::uint64_t offset, std::size_t size) {
  if (IsAddress(offset, size)) {
    const AddressHalf at = AddressAt(offset);
    return config_->ReadQueueAddress(at.part, at.half);
  }
  switch (Key(offset, size)) {
    case Key(reg::kDeviceFeatureSelect, 4):
      return config_->SelectedDeviceFeatures();
    case Key(reg::kDeviceFeature, 4):
      return config_->ReadDeviceFeatures();
    case Key(reg::kDriverFeatureSelect, 4):
      return config_->SelectedDriverFeatures();
    case Key(reg::kDriverFeature, 4):
      return config_->ReadDriverFeatures();
    case Key(reg::kConfigVector, 2):
      return msix_->vector(0);
    case Key(reg::kNumQueues, 2):
      return config_->queue_count();
    case Key(reg::kDeviceStatus, 1):
      return config_->ReadStatus();
    case Key(reg::kConfigGeneration, 1):
      return config_->ReadConfigGeneration() & 0xff;
    case Key(reg::kQueueSelect, 2):
      return config_->SelectedQueue();
    case Key(reg::kQueueSize, 2):
      return config_->ReadQueueSize();
    case Key(reg::kQueueVector, 2):
      return QueueVector();
    case Key(reg::kQueueEnable, 2):
      return config_->ReadQueueReady() ? 1 : 0;
    case Key(reg::kQueueNotifyOff, 2): {
      const std::uint32_t queue = config_->SelectedQueue();
      return queue < config_->queue_count() ? queue : 0;
    }
    default:
      return 0;
  }
}

void PciTransport::WriteCommon(std::uint64_t offset, std::size_t size, std::uint32_t value) {
  if (IsAddress(offset, size)) {
    const AddressHalf at = AddressAt(offset);
    return config_->WriteQueueAddress(at.part, at.half, value);
  }
  switch (Key(offset, size)) {
    case Key(reg::kDeviceFeatureSelect, 4):
      return config_->SelectDeviceFeatures(value);
    case Key(reg::kDriverFeatureSelect, 4):
      return config_->SelectDriverFeatures(value);
    case Key(reg::kDriverFeature, 4):
      return config_->WriteDriverFeatures(value);
    case Key(reg::kConfigVector, 2):
      return msix_->Bind(0, static_cast<std::uint16_t>(value));
    case Key(reg::kDeviceStatus, 1):
      return config_->WriteStatus(static_cast<std::uint8_t>(value), CommonConfig::ResetWait::kNo);
    case Key(reg::kQueueSelect, 2):
      return config_->SelectQueue(value);
    case Key(reg::kQueueSize, 2):
      return config_->WriteQueueSize(value);
    case Key(reg::kQueueVector, 2):
      return SetQueueVector(static_cast<std::uint16_t>(value));
    case Key(reg::kQueueEnable, 2):
      // 4.1.4.3.2: a driver does not write 0.
      if (value == 1) config_->WriteQueueReady(true);
      return;
    default:
      return;
  }
}

std::uint16_t PciTransport::QueueVector() const {
  const std::uint32_t queue = config_->SelectedQueue();
  return queue < config_->queue_count() ? msix_->vector(static_cast<std::uint16_t>(queue + 1))
                                        : pci::Msix::kNoVector;
}

// 4.1.5.1.2.1: a vector that cannot be had reads back as NO_VECTOR.
void PciTransport::SetQueueVector(std::uint16_t vector) {
  const std::uint32_t queue = config_->SelectedQueue();
  if (queue < config_->queue_count()) msix_->Bind(static_cast<std::uint16_t>(queue + 1), vector);
}

}  // namespace gemel::virtio
