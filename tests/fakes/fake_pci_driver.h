// What a driver does to a virtio device on PCI (virtio 1.2, 3.1.1 and 4.1.5), at its register file:
//
//   FakePciDriver driver(transport->registers());
//   driver.Negotiate(features);
//   driver.SetUpQueue(0, queue.layout(), vector);
//   driver.SetStatus(kStatusDriverOk);
#pragma once
#include <array>
#include <cstdint>
#include <type_traits>

#include "base/load_le.h"
#include "virtio/queue/virt_queue.h"
#include "virtio/transport/common_config.h"
#include "virtio/transport/pci_layout.h"
#include "vmm/bus/io_handler.h"

namespace gemel::testing {

class FakePciDriver {
 public:
  static constexpr std::uint16_t kNoVector = 0xffff;

  explicit FakePciDriver(IoHandler& registers) : registers_(registers) {}

  template <class T>
  T Read(std::uint64_t offset) {
    std::array<std::byte, sizeof(T)> data;
    registers_.Read(offset, data);
    return LoadLe<T>(data);
  }
  template <class T>
  void Write(std::uint64_t offset, std::type_identity_t<T> value) {
    std::array<std::byte, sizeof(T)> data;
    StoreLe<T>(std::span(data), 0, value);
    registers_.Write(offset, data);
  }

  std::uint8_t status() { return Read<std::uint8_t>(virtio::pci_layout::kDeviceStatus); }
  // Adds `bits` to the status.
  void SetStatus(std::uint8_t bits) {
    Write<std::uint8_t>(virtio::pci_layout::kDeviceStatus,
                        static_cast<std::uint8_t>(status() | bits));
  }
  void Reset() { Write<std::uint8_t>(virtio::pci_layout::kDeviceStatus, 0); }

  std::uint64_t DeviceFeatures() {
    Write<std::uint32_t>(virtio::pci_layout::kDeviceFeatureSelect, 1);
    const std::uint64_t high = Read<std::uint32_t>(virtio::pci_layout::kDeviceFeature);
    Write<std::uint32_t>(virtio::pci_layout::kDeviceFeatureSelect, 0);
    return high << 32 | Read<std::uint32_t>(virtio::pci_layout::kDeviceFeature);
  }
  void WriteFeatures(std::uint64_t features) {
    for (const std::uint32_t window : {0u, 1u}) {
      Write<std::uint32_t>(virtio::pci_layout::kDriverFeatureSelect, window);
      Write<std::uint32_t>(virtio::pci_layout::kDriverFeature,
                           static_cast<std::uint32_t>(features >> 32 * window));
    }
  }
  // From reset to FEATURES_OK; false if the device refused.
  bool Negotiate(std::uint64_t features) {
    Reset();
    SetStatus(virtio::kStatusAcknowledge);
    SetStatus(virtio::kStatusDriver);
    WriteFeatures(features);
    SetStatus(virtio::kStatusFeaturesOk);
    return (status() & virtio::kStatusFeaturesOk) != 0;
  }
  void SelectQueue(std::uint16_t queue) {
    Write<std::uint16_t>(virtio::pci_layout::kQueueSelect, queue);
  }
  void SetUpQueue(std::uint16_t queue, const virtio::QueueLayout& layout,
                  std::uint16_t vector = kNoVector) {
    SelectQueue(queue);
    Write<std::uint16_t>(virtio::pci_layout::kQueueSize, layout.size);
    Write<std::uint16_t>(virtio::pci_layout::kQueueVector, vector);
    WriteAddress(virtio::pci_layout::kQueueDesc, layout.descriptors);
    WriteAddress(virtio::pci_layout::kQueueDriver, layout.driver_ring);
    WriteAddress(virtio::pci_layout::kQueueDevice, layout.device_ring);
    Write<std::uint16_t>(virtio::pci_layout::kQueueEnable, 1);
  }
  // The whole of 3.1.1 with one queue.
  void Start(std::uint64_t features, const virtio::QueueLayout& layout,
             std::uint16_t vector = kNoVector) {
    Negotiate(features);
    SetUpQueue(0, layout, vector);
    SetStatus(virtio::kStatusDriverOk);
  }
  void Notify(std::uint16_t queue) {
    Write<std::uint16_t>(virtio::pci_layout::NotifyOffset(queue), queue);
  }
  std::uint8_t TakeIsr() { return Read<std::uint8_t>(virtio::pci_layout::kIsr); }

 private:
  void WriteAddress(std::uint64_t low, GuestAddress at) {
    Write<std::uint32_t>(low, static_cast<std::uint32_t>(at.value));
    Write<std::uint32_t>(low + 4, static_cast<std::uint32_t>(at.value >> 32));
  }

  IoHandler& registers_;
};

}  // namespace gemel::testing
