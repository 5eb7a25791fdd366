// A virtio device as a PCI function (virtio 1.2, section 4.1; no legacy interface, no transitional
// ids).
//
// Kicks: each queue has an address of its own in BAR 0. While the BAR is on the bus a write there
// signals the queue's eventfd in the kernel (IoEventRegistrar), and this moves with the BAR; a
// write that arrives all the same does so here.
//
// Interrupts: with MSI-X enabled a queue's is its vector's message, and event_fd() is the MSI's own
// eventfd, so that the way from a worker or vhost to the guest has no lock and no code of ours.
// Without MSI-X it is INTA# and the ISR status, which a kernel data path cannot set: event_fd() is
// -1. Ask at activation.
//
// Resets: the driver's (device_status := 0) and function level reset begin the device's reset and do
// not wait; until it has ended device_status reads DEVICE_NEEDS_RESET, which is not the 0 that a
// driver polls for (4.1.4.3.2, 2.4.2).
//
// Access rules: fields of common configuration take their own width only (4.1.3.1; a 64-bit field
// two dwords, or all at once), others read 0 and write nothing. Device configuration takes any.
//
// Not implemented: VIRTIO_F_RING_RESET, VIRTIO_F_NOTIF_CONFIG_DATA, VIRTIO_F_NOTIFICATION_DATA,
// VIRTIO_F_SR_IOV, shared memory capabilities; a driver that clears bus master stops messages, but
// not the device.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "virtio/device.h"
#include "virtio/transport/common_config.h"
#include "vmm/bus/interrupt.h"
#include "vmm/bus/io_event.h"
#include "vmm/bus/io_handler.h"
#include "vmm/bus/msi.h"
#include "vmm/pci/msix.h"
#include "vmm/pci/pci_function.h"

namespace gemel::virtio {

class PciTransport final : public pci::Function {
 public:
  struct Wiring {
    const GuestMemory* memory = nullptr;
    IoEventRegistrar* io_events = nullptr;  // none: every kick comes through the BAR
    MsiAllocator* msis = nullptr;
    std::string name;  // "blk0"; for messages
  };

  // All that `wiring` points at outlives the transport. It then is attached to a pci::Root, which
  // owns it. One vector for configuration changes and one for each queue.
  static Result<std::unique_ptr<PciTransport>> Create(Wiring wiring,
                                                      std::unique_ptr<VirtioDevice> device);
  // Ends the device first, waiting until it has let go of guest memory (see ~CommonConfig).
  // REQUIRES: no vCPU can reach it any more.
  ~PciTransport() override;

  // For a reset of the whole machine, whatever the driver is doing: `done` runs once, on this
  // thread or the device's, when the registers of BAR 0 are as new and nothing of the device
  // touches guest memory. Configuration space is the Root's to reset.
  void ResetFromMachine(std::function<void()> done) { config_->Reset(std::move(done)); }

  // What BAR 0 and the MSI-X BAR answer; for tests.
  IoHandler& registers() { return registers_; }
  IoHandler& msix() { return *msix_; }

 protected:
  void OnRead(std::size_t offset, std::size_t size) override;
  void OnWritten(std::size_t offset, std::size_t size) override;
  void OnBarMapped(unsigned index, std::uint64_t base) override;
  void OnBarUnmapped(unsigned index, std::uint64_t base) override;
  void OnMsixControl() override;
  void OnReset() override;

 private:
  class RegisterFile final : public IoHandler {
   public:
    explicit RegisterFile(PciTransport* owner) : owner_(owner) {}
    std::string_view name() const override { return owner_->name(); }
    void Read(std::uint64_t offset, std::span<std::byte> data) override;
    void Write(std::uint64_t offset, std::span<const std::byte> data) override;

   private:
    PciTransport* const owner_;
  };
  // Of configuration changes (source 0) or of a queue (source 1 + its number).
  class SourceInterrupt final : public Interrupt {
   public:
    SourceInterrupt(PciTransport* owner, std::uint16_t source) : owner_(owner), source_(source) {}
    void Trigger() override;
    int event_fd() const override;

   private:
    PciTransport* const owner_;
    const std::uint16_t source_;
  };
  class Interrupts final : public CommonConfig::Interrupts {
   public:
    explicit Interrupts(PciTransport* owner) : owner_(owner) {}
    Interrupt* QueueInterrupt(std::uint16_t queue) override {
      return owner_->sources_[queue + 1u].get();
    }
    Interrupt* ConfigInterrupt() override { return owner_->sources_[0].get(); }
    void OnReset() override;

   private:
    PciTransport* const owner_;
  };

  PciTransport(Wiring wiring, DeviceType type, std::unique_ptr<pci::Msix> msix,
               std::uint16_t queues);
  void AddVirtioCapabilities(std::uint16_t queues);
  std::size_t AddVirtioCapability(std::uint8_t type, std::size_t length, std::uint32_t offset,
                                  std::uint32_t size);

  std::uint32_t ReadCommon(std::uint64_t offset, std::size_t size);
  void WriteCommon(std::uint64_t offset, std::size_t size, std::uint32_t value);
  std::uint16_t QueueVector() const;
  void SetQueueVector(std::uint16_t vector);
  std::uint8_t TakeIsr() EXCLUDES(isr_mutex_);
  void RaiseIsr(std::uint8_t bit) EXCLUDES(isr_mutex_);
  void UpdatePinLocked() REQUIRES(isr_mutex_);

  // The window that the PCI configuration access capability opens (4.1.4.9); an empty one if what
  // the driver wrote there makes no sense.
  struct ConfigWindow {
    IoHandler* handler = nullptr;
    std::uint32_t offset = 0;
    std::uint32_t length = 0;
  };
  ConfigWindow OpenConfigWindow() const;
  bool IsWindowData(std::size_t offset, std::size_t size) const;

  const Wiring wiring_;
  RegisterFile registers_{this};
  Interrupts interrupts_{this};
  const std::unique_ptr<pci::Msix> msix_;
  std::vector<std::unique_ptr<SourceInterrupt>> sources_;
  std::vector<bool> kicks_registered_;  // by queue; under the Root's lock
  std::size_t window_ = 0;              // the PCI configuration access capability

  Mutex isr_mutex_;
  std::uint8_t isr_ GUARDED_BY(isr_mutex_) = 0;

  std::unique_ptr<CommonConfig> config_;  // last: ends the device before what it may call goes
};

}  // namespace gemel::virtio
