// The platform of profile `server`: a Q35 with PCI Express, virtio-pci devices from 00:01.0 on, the
// ICH9's power management, pvpanic, ACPI and SMBIOS. What firmware would program is programmed
// before each direct boot.
#pragma once
#include <memory>
#include <vector>

#include "virtio/transport/pci_transport.h"
#include "vmm/config/identity_config.h"
#include "vmm/devices/ich9_pm.h"
#include "vmm/devices/pvpanic.h"
#include "vmm/machine/platform.h"
#include "vmm/machine/shadow_ram.h"
#include "vmm/pci/q35.h"

namespace gemel {

class ServerPlatform : public Platform {
 public:
  static Result<std::unique_ptr<Platform>> Create(const PlatformBase& base);

  Status Attach(VirtioPart part) override;
  const std::vector<MachineDevice>& devices() const override { return devices_; }
  Status WriteTables(boot::BootSources& sources) override;
  void PressPowerButton() override { pm_.pm1().PressPowerButton(); }
  Status PressSleepButton() override;
  void ResetDevices(const std::function<void()>& done) override;
  Status ResetChips() override;

 private:
  explicit ServerPlatform(const PlatformBase& base);
  Status CreateChips();

  const PlatformBase base_;
  const std::uint64_t pci_memory64_;
  IdentityConfig identity_;
  Ich9Pm pm_;
  PvPanic pvpanic_;
  ShadowRam shadow_ram_;
  std::vector<virtio::PciTransport*> transports_;  // q35_'s
  std::vector<MachineDevice> devices_;
  std::unique_ptr<pci::Q35> q35_;
};

}  // namespace gemel
