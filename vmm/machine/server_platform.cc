#include "vmm/machine/server_platform.h"

#include <sys/random.h>

#include <cerrno>
#include <span>
#include <utility>

#include "vmm/arch/x86/acpi/dsdt.h"
#include "vmm/arch/x86/acpi/tables.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/memory_map.h"
#include "vmm/arch/x86/smbios.h"

namespace gemel {
namespace {

// RFC 4122, version 4.
Status MakeUuid(Uuid& uuid) {
  if (getrandom(uuid.data(), uuid.size(), 0) != static_cast<ssize_t>(uuid.size()))
    return ErrnoError(errno, "uuid: getrandom");
  uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0f) | 0x40);
  uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3f) | 0x80);
  return {};
}

PowerManagement::Options PmOptions(const PlatformBase& base) {
  return {.lines = base.vm,
          .sci = x86::kIrqSci,
          .events = base.events,
          .s5 = x86::kServerSleepTypeS5,
          .sleep_button = true};
}

}  // namespace

ServerPlatform::ServerPlatform(const PlatformBase& base)
    : base_(base),
      pci_memory64_(x86::PciMemory64(base.config->memory.size)),
      identity_(base.config->identity),
      pm_(PmOptions(base), base.clock),
      pvpanic_(base.events),
      shadow_ram_(base.memory, base.vm) {}

Result<std::unique_ptr<Platform>> ServerPlatform::Create(const PlatformBase& base) {
  std::unique_ptr<ServerPlatform> platform(new ServerPlatform(base));
  const std::uint32_t bits = base.physical_address_bits;
  const std::uint64_t last = platform->pci_memory64_ + (x86::kPciMemory64Size - 1);
  if (bits < 64 && last >> bits != 0)
    return InvalidArgument(
        "memory: {} GiB: with PCI's window behind it beyond the {} physical address bits that this "
        "host gives a guest",
        base.config->memory.size >> 30, bits);
  RETURN_IF_ERROR(platform->CreateChips());
  return platform;
}

Status ServerPlatform::CreateChips() {
  if (identity_.uuid == Uuid{}) RETURN_IF_ERROR(MakeUuid(identity_.uuid));
  RETURN_IF_ERROR(base_.ports->Map(x86::kPortPvPanic, PvPanic::kPorts, &pvpanic_));
  RETURN_IF_ERROR(
      base_.mmio->Map(ShadowRam::kRange.start.value, ShadowRam::kRange.size, &shadow_ram_));
  pci::Q35::Wiring wiring;
  wiring.memory = base_.mmio;
  wiring.ports = base_.ports;
  wiring.lines = base_.vm;
  wiring.events = &shadow_ram_;
  wiring.reset = base_.reset_port;
  wiring.pm = &pm_;
  wiring.pm_size = Ich9Pm::kPorts;
  ASSIGN_OR_RETURN(q35_, pci::Q35::Create(wiring));
  return {};
}

Status ServerPlatform::Attach(VirtioPart part) {
  const auto device = pci::Q35::kFirstDevice + static_cast<unsigned>(devices_.size());
  const std::span<const std::uint16_t> queue_sizes = part.device->queue_sizes();
  part.info.place = fmt::format("00:{:02x}.0", device);
  part.info.queues = static_cast<std::uint32_t>(queue_sizes.size());
  part.info.queue_size = queue_sizes[0];
  virtio::PciTransport::Wiring wiring;
  wiring.memory = base_.memory;
  wiring.io_events = base_.vm;
  wiring.msis = base_.vm;
  wiring.name = part.info.name;
  ASSIGN_OR_RETURN(std::unique_ptr<virtio::PciTransport> transport,
                   virtio::PciTransport::Create(std::move(wiring), std::move(part.device)));
  virtio::PciTransport* const raw = transport.get();
  RETURN_IF_ERROR(q35_->Attach(device, std::move(transport)));
  transports_.push_back(raw);
  devices_.push_back(std::move(part.info));
  return {};
}

Status ServerPlatform::WriteTables(boot::BootSources& sources) {
  const std::uint32_t cpus = base_.config->cpus;
  pci::Q35::Layout layout;
  layout.ecam = x86::kEcam;
  layout.pm_base = x86::kPortPm;
  layout.resources.io = {x86::kPciIo, x86::kPciIoSize};
  layout.resources.memory32 = {x86::kPciMemory, x86::kPciMemorySize};
  layout.resources.memory64 = {pci_memory64_, x86::kPciMemory64Size};
  RETURN_IF_ERROR(q35_->Program(layout));
  shadow_ram_.Follow();
  x86::AcpiConfig acpi;
  acpi.cpus = cpus;
  acpi.machine = x86::AcpiMachine::kServer1;
  acpi.pci_memory64 = pci_memory64_;
  ASSIGN_OR_RETURN(sources.rsdp, x86::WriteAcpiTables(*base_.memory, acpi));
  RETURN_IF_ERROR(x86::WriteSmbios(
      *base_.memory,
      {.identity = identity_, .cpus = cpus, .ram = x86::ServerRam(base_.config->memory.size)}));
  // Linux uses the ECAM from the first moment only if the memory map reserves it.
  sources.reserved.push_back({x86::kEcam, x86::kEcamSize, boot::MapType::kReserved});
  return {};
}

Status ServerPlatform::PressSleepButton() {
  pm_.pm1().PressSleepButton();
  return {};
}

void ServerPlatform::ResetDevices(const std::function<void()>& done) {
  for (virtio::PciTransport* transport : transports_) transport->ResetFromMachine(done);
}

Status ServerPlatform::ResetChips() {
  pm_.Reset();
  shadow_ram_.PutOff();
  q35_->Reset();
  return {};
}

}  // namespace gemel
