// The platform of profile `micro`: virtio-mmio devices, each with a line of its own, and no PCI;
// ACPI, or with acpi=off an MP table and words on the command line.
#pragma once
#include <memory>
#include <vector>

#include "virtio/transport/mmio_transport.h"
#include "vmm/bus/interrupt.h"
#include "vmm/devices/pm.h"
#include "vmm/machine/platform.h"

namespace gemel {

class MicroPlatform : public Platform {
 public:
  static Result<std::unique_ptr<Platform>> Create(const PlatformBase& base);

  Status Attach(VirtioPart part) override;
  const std::vector<MachineDevice>& devices() const override { return devices_; }
  Status WriteTables(boot::BootSources& sources) override;
  void PressPowerButton() override { pm_->PressPowerButton(); }
  Status PressSleepButton() override;
  void ResetDevices(const std::function<void()>& done) override;
  Status ResetChips() override;

 private:
  explicit MicroPlatform(const PlatformBase& base) : base_(base) {}
  Status CreateChips();
  Interrupt* NewLine(std::uint32_t gsi);

  const PlatformBase base_;
  std::vector<std::unique_ptr<Interrupt>> lines_;
  std::unique_ptr<PowerManagement> pm_;
  std::vector<std::unique_ptr<virtio::MmioTransport>> transports_;
  std::vector<MachineDevice> devices_;
};

}  // namespace gemel
