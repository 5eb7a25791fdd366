// A virtio device on a page of trapped memory and one interrupt line (virtio 1.2, section 4.2,
// version 2).
//
// Kicks: a guest's write to QueueNotify signals the queue's eventfd in the kernel
// (IoEventRegistrar); one that reaches Write all the same does so here. Interrupts: the bit in
// InterruptStatus is set before the line is triggered, and stays until the driver acknowledges it.
//
// Access rules: registers take 4-byte aligned accesses only (4.2.2.2), others read 0 and write
// nothing; so do registers that are reserved or whose direction is the other one. Configuration
// space takes any width.
//
// Not implemented: the legacy interface (version 1), QueueReset (VIRTIO_F_RING_RESET is not offered
// and the register reads 0), shared memory regions (every length reads as 2^64 - 1, which is "no
// such region").
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "virtio/device.h"
#include "virtio/transport/common_config.h"
#include "vmm/bus/interrupt.h"
#include "vmm/bus/io_event.h"
#include "vmm/bus/io_handler.h"

namespace gemel::virtio {

class MmioTransport : public IoHandler {
 public:
  struct Wiring {
    const GuestMemory* memory = nullptr;
    IoEventRegistrar* io_events = nullptr;  // none: every kick comes through Write
    std::uint64_t base = 0;                 // guest-physical, where io_events shall listen
    Interrupt* line = nullptr;              // edge-triggered, this device's alone
    std::string name;                       // "blk0"; for messages
  };
  // How large a range the transport wants on the bus: registers and 256 bytes of configuration and
  // more.
  static constexpr std::uint64_t kSize = 0x1000;

  // All that `wiring` points at outlives the transport.
  static Result<std::unique_ptr<MmioTransport>> Create(Wiring wiring,
                                                       std::unique_ptr<VirtioDevice> device);
  // Ends the device first, waiting until it has let go of guest memory (see ~CommonConfig).
  // REQUIRES: no vCPU can reach it any more.
  ~MmioTransport() override;

  std::string_view name() const override { return wiring_.name; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override;
  // A driver's reset (Status := 0) waits here for the device, at most 5 s; see CommonConfig.
  void Write(std::uint64_t offset, std::span<const std::byte> data) override;

  // For a reset of the whole machine, whatever the driver is doing: `done` runs once, on this
  // thread or the device's, when the register file is as new and nothing of the device touches
  // guest memory.
  void ResetFromMachine(std::function<void()> done) { config_->Reset(std::move(done)); }

  // For tests: how long a driver's reset waits.
  void set_reset_bound(std::chrono::milliseconds bound) { config_->set_reset_bound(bound); }

 private:
  // Sets its bit of InterruptStatus, then triggers the line. Without an eventfd: a kernel data path
  // could not set the bit.
  class BitInterrupt : public Interrupt {
   public:
    BitInterrupt(MmioTransport* owner, std::uint32_t bit) : owner_(owner), bit_(bit) {}
    void Trigger() override;
    int event_fd() const override { return -1; }

   private:
    MmioTransport* const owner_;
    const std::uint32_t bit_;
  };
  class Interrupts : public CommonConfig::Interrupts {
   public:
    explicit Interrupts(MmioTransport* owner);
    Interrupt* QueueInterrupt(std::uint16_t) override { return &queue_; }
    Interrupt* ConfigInterrupt() override { return &config_; }
    void OnReset() override;

   private:
    MmioTransport* const owner_;
    BitInterrupt queue_, config_;
  };

  explicit MmioTransport(Wiring wiring) : wiring_(std::move(wiring)) {}
  Status RegisterKicks();
  std::uint32_t ReadRegister(std::uint64_t offset);
  void WriteRegister(std::uint64_t offset, std::uint32_t value);
  void WriteQueueRegister(std::uint64_t offset, std::uint32_t value);
  void Notify(std::uint32_t queue);

  const Wiring wiring_;
  Interrupts interrupts_{this};
  std::atomic<std::uint32_t> interrupt_status_{0};
  std::uint16_t registered_kicks_ = 0;
  std::unique_ptr<CommonConfig> config_;  // last: ends the device before what it may call goes
};

}  // namespace gemel::virtio
