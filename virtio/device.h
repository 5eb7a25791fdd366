// What every virtio device offers its transport (virtio 1.2, section 2).
//
//   transport (register file, any vCPU thread)        device (its worker thread)
//   DRIVER_OK ── Activate(Activation) ───────────────▶ takes queues, memory, interrupts
//   kick eventfd ────────────────────────────────────▶ pops, works, completes, triggers
//   status := 0 ── Reset(done) ──────────────────────▶ drains, drops them, runs done
//
// A device never knows which transport it is behind nor where that lies.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/event_fd.h"
#include "base/result.h"
#include "virtio/queue/virt_queue.h"
#include "vmm/bus/interrupt.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::virtio {

// Device types (virtio 1.2, section 5).
enum class DeviceType : std::uint32_t {
  kNet = 1,
  kBlock = 2,
  kConsole = 3,
  kEntropy = 4,
  kBalloon = 5,
  kScsi = 8,
  kVsock = 19,
};

// Like the ring's kFeatureIndirectDesc and kFeatureEventIdx this one is not a device's (virtio 1.2,
// section 6): the transport adds all three to what the device offers.
inline constexpr std::uint64_t kFeatureVersion1 = 1ull << 32;

// One queue as the driver set it up, with how to be called for it and how to answer.
struct ActiveQueue {
  std::uint16_t index = 0;  // the queue's number; queues the driver left off are missing
  std::unique_ptr<VirtQueue> queue;
  const EventFd* kick = nullptr;   // owned by the transport, which outlives the activation
  Interrupt* interrupt = nullptr;  // the same
};

// What a transport hands a device when the driver sets DRIVER_OK. Moved into the device, which
// drops it before it runs Reset's `done`.
struct Activation {
  const GuestMemory* memory = nullptr;
  std::vector<ActiveQueue> queues;
  Interrupt* config_interrupt = nullptr;
  // Sets DEVICE_NEEDS_RESET and raises the configuration interrupt (2.1.2). Any thread.
  std::function<void()> needs_reset;
  std::uint64_t features = 0;  // negotiated
};

// The four members before Activate are called on vCPU threads, several at once, at any time.
class VirtioDevice {
 public:
  virtual ~VirtioDevice() = default;
  virtual DeviceType type() const = 0;
  // Device-specific feature bits offered. Constant for the device's life.
  virtual std::uint64_t features() const = 0;
  // The largest size of each queue, a power of two. Constant for the device's life.
  virtual std::span<const std::uint16_t> queue_sizes() const = 0;
  // Device configuration space. Bytes past its end read as zero, writes there are ignored.
  virtual void ReadConfig(std::uint32_t offset, std::span<std::byte> out) const = 0;
  virtual void WriteConfig(std::uint32_t offset, std::span<const std::byte> in) = 0;

  // Called on a vCPU thread; only hands over to the device's worker and returns.
  // An error makes the transport set DEVICE_NEEDS_RESET.
  virtual Status Activate(Activation activation) = 0;
  // Starts the reset; `done` runs once, on any thread, when no completion can touch guest RAM any
  // more and the activation is dropped. Without an activation it runs at once or as soon as the
  // worker comes to it.
  virtual void Reset(std::function<void()> done) = 0;
};

}  // namespace gemel::virtio
