// What a driver does to a virtio-mmio register file (virtio 1.2, 3.1.1 and 4.2.3), step by step or
// all at once:
//
//   FakeMmioDriver driver(*transport);
//   driver.Negotiate(features);
//   driver.SetUpQueue(0, queue.layout());
//   driver.SetStatus(kStatusDriverOk);
#pragma once
#include <array>
#include <cstdint>

#include "base/load_le.h"
#include "virtio/queue/virt_queue.h"
#include "virtio/transport/common_config.h"
#include "virtio/transport/mmio_registers.h"
#include "vmm/bus/io_handler.h"

namespace gemel::testing {

class FakeMmioDriver {
 public:
  explicit FakeMmioDriver(IoHandler& device) : device_(device) {}

  std::uint32_t Read(std::uint64_t reg) {
    std::array<std::byte, 4> data;
    device_.Read(reg, data);
    return LoadLe32(data);
  }
  void Write(std::uint64_t reg, std::uint32_t value) {
    std::array<std::byte, 4> data;
    StoreLe(std::span(data), 0, value);
    device_.Write(reg, data);
  }

  std::uint32_t status() { return Read(virtio::mmio::kStatus); }
  // Adds `bits` to the status.
  void SetStatus(std::uint32_t bits) { Write(virtio::mmio::kStatus, status() | bits); }
  void Reset() { Write(virtio::mmio::kStatus, 0); }

  std::uint64_t DeviceFeatures() {
    Write(virtio::mmio::kDeviceFeaturesSel, 1);
    const std::uint64_t high = Read(virtio::mmio::kDeviceFeatures);
    Write(virtio::mmio::kDeviceFeaturesSel, 0);
    return high << 32 | Read(virtio::mmio::kDeviceFeatures);
  }
  void WriteFeatures(std::uint64_t features) {
    for (const std::uint32_t window : {0u, 1u}) {
      Write(virtio::mmio::kDriverFeaturesSel, window);
      Write(virtio::mmio::kDriverFeatures, static_cast<std::uint32_t>(features >> 32 * window));
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
  void SetUpQueue(std::uint32_t queue, const virtio::QueueLayout& layout) {
    Write(virtio::mmio::kQueueSel, queue);
    Write(virtio::mmio::kQueueNum, layout.size);
    WriteAddress(virtio::mmio::kQueueDescLow, layout.descriptors);
    WriteAddress(virtio::mmio::kQueueDriverLow, layout.driver_ring);
    WriteAddress(virtio::mmio::kQueueDeviceLow, layout.device_ring);
    Write(virtio::mmio::kQueueReady, 1);
  }
  // The whole of 3.1.1 with one queue.
  void Start(std::uint64_t features, const virtio::QueueLayout& layout) {
    Negotiate(features);
    SetUpQueue(0, layout);
    SetStatus(virtio::kStatusDriverOk);
  }
  void Notify(std::uint32_t queue) { Write(virtio::mmio::kQueueNotify, queue); }

 private:
  void WriteAddress(std::uint64_t low, GuestAddress at) {
    Write(low, static_cast<std::uint32_t>(at.value));
    Write(low + 4, static_cast<std::uint32_t>(at.value >> 32));
  }

  IoHandler& device_;
};

}  // namespace gemel::testing
