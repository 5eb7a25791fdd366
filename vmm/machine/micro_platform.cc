#include "vmm/machine/micro_platform.h"

#include <span>
#include <string>
#include <utility>

#include "vmm/arch/x86/acpi/tables.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/mp_table.h"
#include "vmm/devices/reset_port.h"

namespace gemel {

Result<std::unique_ptr<Platform>> MicroPlatform::Create(const PlatformBase& base) {
  std::unique_ptr<MicroPlatform> platform(new MicroPlatform(base));
  RETURN_IF_ERROR(platform->CreateChips());
  return platform;
}

Interrupt* MicroPlatform::NewLine(std::uint32_t gsi) {
  lines_.push_back(base_.vm->CreateInterrupt(gsi));
  return lines_.back().get();
}

Status MicroPlatform::CreateChips() {
  RETURN_IF_ERROR(base_.ports->Map(x86::kPortReset, ResetPort::kPorts, base_.reset_port));
  pm_ = std::make_unique<PowerManagement>(
      PowerManagement::Options{.lines = base_.vm, .sci = x86::kIrqSci, .events = base_.events});
  if (!base_.config->acpi) return {};
  return base_.ports->Map(x86::kPortPm, PowerManagement::kPorts, pm_.get());
}

Status MicroPlatform::Attach(VirtioPart part) {
  const std::size_t slot = transports_.size();
  const std::uint64_t base = x86::kMmioDevices + slot * x86::kMmioDeviceSize;
  const std::uint32_t gsi = x86::kMmioIrqs[slot];
  const std::span<const std::uint16_t> queue_sizes = part.device->queue_sizes();
  part.info.address = base;
  part.info.irq = gsi;
  part.info.queues = static_cast<std::uint32_t>(queue_sizes.size());
  part.info.queue_size = queue_sizes[0];
  Interrupt* const line = NewLine(gsi);
  virtio::MmioTransport::Wiring wiring;
  wiring.memory = base_.memory;
  wiring.io_events = base_.vm;
  wiring.base = base;
  wiring.line = line;
  wiring.name = part.info.name;
  ASSIGN_OR_RETURN(std::unique_ptr<virtio::MmioTransport> transport,
                   virtio::MmioTransport::Create(std::move(wiring), std::move(part.device)));
  RETURN_IF_ERROR(base_.mmio->Map(base, virtio::MmioTransport::kSize, transport.get()));
  transports_.push_back(std::move(transport));
  devices_.push_back(std::move(part.info));
  return {};
}

Status MicroPlatform::WriteTables(boot::BootSources& sources) {
  const auto devices = static_cast<std::uint32_t>(transports_.size());
  const std::uint32_t cpus = base_.config->cpus;
  if (base_.config->acpi) {
    ASSIGN_OR_RETURN(sources.rsdp, x86::WriteAcpiTables(*base_.memory, {cpus, devices}));
    return {};
  }
  RETURN_IF_ERROR(x86::WriteMpTable(*base_.memory, cpus));
  // In front: what follows a "--" goes to init.
  const std::string words = x86::MmioCmdlineWords(devices);
  if (!words.empty()) sources.cmdline = words + ' ' + sources.cmdline;
  return {};
}

Status MicroPlatform::PressSleepButton() {
  return MakeError(Code::kUnimplemented, "sleep button: this machine has none");
}

void MicroPlatform::ResetDevices(const std::function<void()>& done) {
  for (auto& transport : transports_) transport->ResetFromMachine(done);
}

Status MicroPlatform::ResetChips() {
  pm_->Reset();
  return {};
}

}  // namespace gemel
