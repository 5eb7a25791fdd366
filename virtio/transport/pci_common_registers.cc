// The registers of common configuration (virtio 1.2, 4.1.4.3): offset and width to CommonConfig.
#include "virtio/transport/pci_layout.h"
#include "virtio/transport/pci_transport.h"

namespace gemel::virtio {
namespace {

using namespace pci_layout;

// A register's place and width in one value, so that an access of another width is of no register.
constexpr std::uint64_t Key(std::uint64_t offset, std::size_t size) { return offset << 4 | size; }

struct AddressHalf {
  QueuePart part;
  Half half;
};
// REQUIRES: one of the six dwords of queue_desc, queue_driver and queue_device.
constexpr AddressHalf AddressAt(std::uint64_t offset) {
  return {static_cast<QueuePart>((offset - kQueueDesc) / 8),
          offset % 8 == 0 ? Half::kLow : Half::kHigh};
}
constexpr bool IsAddress(std::uint64_t offset, std::size_t size) {
  return size == 4 && offset % 4 == 0 && offset >= kQueueDesc && offset < kCommonLength;
}

}  // namespace

std::uint32_t PciTransport::ReadCommon(std::uint64_t offset, std::size_t size) {
  if (IsAddress(offset, size)) {
    const AddressHalf at = AddressAt(offset);
    return config_->ReadQueueAddress(at.part, at.half);
  }
  switch (Key(offset, size)) {
    case Key(kDeviceFeatureSelect, 4):
      return config_->SelectedDeviceFeatures();
    case Key(kDeviceFeature, 4):
      return config_->ReadDeviceFeatures();
    case Key(kDriverFeatureSelect, 4):
      return config_->SelectedDriverFeatures();
    case Key(kDriverFeature, 4):
      return config_->ReadDriverFeatures();
    case Key(kConfigVector, 2):
      return msix_->vector(0);
    case Key(kNumQueues, 2):
      return config_->queue_count();
    case Key(kDeviceStatus, 1):
      return config_->ReadStatus();
    case Key(kConfigGeneration, 1):
      return config_->ReadConfigGeneration() & 0xff;
    case Key(kQueueSelect, 2):
      return config_->SelectedQueue();
    case Key(kQueueSize, 2):
      return config_->ReadQueueSize();
    case Key(kQueueVector, 2):
      return QueueVector();
    case Key(kQueueEnable, 2):
      return config_->ReadQueueReady() ? 1 : 0;
    case Key(kQueueNotifyOff, 2): {
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
    case Key(kDeviceFeatureSelect, 4):
      return config_->SelectDeviceFeatures(value);
    case Key(kDriverFeatureSelect, 4):
      return config_->SelectDriverFeatures(value);
    case Key(kDriverFeature, 4):
      return config_->WriteDriverFeatures(value);
    case Key(kConfigVector, 2):
      return msix_->Bind(0, static_cast<std::uint16_t>(value));
    case Key(kDeviceStatus, 1):
      return config_->WriteStatus(static_cast<std::uint8_t>(value), CommonConfig::ResetWait::kNo);
    case Key(kQueueSelect, 2):
      return config_->SelectQueue(value);
    case Key(kQueueSize, 2):
      return config_->WriteQueueSize(value);
    case Key(kQueueVector, 2):
      return SetQueueVector(static_cast<std::uint16_t>(value));
    case Key(kQueueEnable, 2):
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
