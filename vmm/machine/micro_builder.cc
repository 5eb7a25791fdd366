#include <array>
#include <utility>

#include "block/raw.h"
#include "virtio/blk/device.h"
#include "virtio/rng/device.h"
#include "vmm/arch/x86/acpi/tables.h"
#include "vmm/arch/x86/cpuid.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/memory_map.h"
#include "vmm/arch/x86/mp_table.h"
#include "vmm/boot/boot.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/machine/micro_machine.h"

namespace gemel {

Result<std::unique_ptr<Machine>> Machine::Build(const MachineConfig& config, MachineFds fds,
                                                EventLoop* loop, MachineObserver* observer) {
  auto machine = std::make_unique<MicroMachine>(config, loop, observer);
  RETURN_IF_ERROR(machine->Construct(std::move(fds)));
  return machine;
}

Status MicroMachine::Construct(MachineFds fds) {
  kernel_ = std::move(fds.kernel);
  initrd_ = std::move(fds.initrd);
  ASSIGN_OR_RETURN(kvm_, kvm::Kvm::Create(std::move(fds.kvm)));
  ASSIGN_OR_RETURN(vm_, kvm_->CreateVm());
  RETURN_IF_ERROR(CreateMemory());
  RETURN_IF_ERROR(vm_->CreateIrqchip());
  ASSIGN_OR_RETURN(initial_irqchip_, vm_->SaveIrqchip());
  RETURN_IF_ERROR(CreatePlatform());
  RETURN_IF_ERROR(CreateSerial(std::move(fds.serial_in), std::move(fds.serial_out)));
  RETURN_IF_ERROR(CreateMmioDevices(std::move(fds.disks)));
  RETURN_IF_ERROR(CreateVcpus());
  return LoadGuest();
}

Status MicroMachine::CreateMemory() {
  const MemoryBacking backing = config_.memory.hugepages ? MemoryBacking::kHugePages
                                : config_.memory.shared  ? MemoryBacking::kShared
                                                         : MemoryBacking::kAnonymous;
  const std::vector<MemoryRange> ram = x86::MicroRam(config_.memory.size);
  ASSIGN_OR_RETURN(memory_, GuestMemory::Create(ram, backing));
  return vm_->SetMemory(*memory_);
}

Result<Interrupt*> MicroMachine::NewLine(std::uint32_t gsi) {
  ASSIGN_OR_RETURN(std::unique_ptr<Interrupt> line, vm_->CreateInterrupt(gsi));
  lines_.push_back(std::move(line));
  return lines_.back().get();
}

// The chips every PC has.
Status MicroMachine::CreatePlatform() {
  ASSIGN_OR_RETURN(Interrupt* const rtc_line, NewLine(x86::kIrqRtc));
  ASSIGN_OR_RETURN(Interrupt* const sci, NewLine(x86::kIrqSci));
  ASSIGN_OR_RETURN(rtc_, Rtc::Create(loop_, rtc_line, &clock_));
  MachineEvents* const events = this;
  i8042_ = std::make_unique<I8042>(events);
  reset_port_ = std::make_unique<ResetPort>(events);
  pm_ = std::make_unique<PowerManagement>(sci, events);
  RETURN_IF_ERROR(ports_.Map(x86::kPortCmos, Rtc::kPorts, rtc_.get()));
  RETURN_IF_ERROR(ports_.Map(x86::kPortI8042, I8042::kPorts, i8042_.get()));
  RETURN_IF_ERROR(ports_.Map(x86::kPortReset, ResetPort::kPorts, reset_port_.get()));
  if (!config_.acpi) return {};
  return ports_.Map(x86::kPortPm, PowerManagement::kPorts, pm_.get());
}

Status MicroMachine::CreateMmioDevices(std::vector<UniqueFd> disks) {
  for (std::size_t i = 0; i < config_.disks.size(); ++i) {
    ASSIGN_OR_RETURN(MmioDevice disk, CreateDisk(i, std::move(disks[i])));
    RETURN_IF_ERROR(AttachMmio(std::move(disk)));
  }
  if (!config_.rng) return {};
  ASSIGN_OR_RETURN(std::unique_ptr<virtio::VirtioDevice> rng, virtio::CreateRng("rng0"));
  MmioDevice device;
  device.device = std::move(rng);
  device.info.name = "rng0";
  device.info.kind = "virtio-rng";
  return AttachMmio(std::move(device));
}

Result<MicroMachine::MmioDevice> MicroMachine::CreateDisk(std::size_t index, UniqueFd fd) const {
  const DiskConfig& disk = config_.disks[index];
  block::RawOptions options;
  options.fd = std::move(fd);
  options.read_only = disk.readonly;
  options.direct = disk.direct;
  options.engine = disk.engine == IoEngine::kSync      ? block::Engine::kSync
                   : disk.engine == IoEngine::kIoUring ? block::Engine::kIoUring
                                                       : block::Engine::kAuto;
  auto backend = block::OpenRaw(std::move(options));
  if (!backend) return WithContext(backend.error(), fmt::format("disk: {}", disk.path));
  MmioDevice result;
  result.info.name = fmt::format("blk{}", index);
  result.info.kind = "virtio-blk";
  result.info.engine = (*backend)->engine();
  if (disk.engine == IoEngine::kAuto && result.info.engine == "sync")
    result.info.note = "this host refuses io_uring";
  ASSIGN_OR_RETURN(result.device, virtio::CreateBlk({.name = result.info.name,
                                                     .serial = disk.serial,
                                                     .backend = std::move(*backend)}));
  return result;
}

Status MicroMachine::AttachMmio(MmioDevice device) {
  const std::size_t slot = transports_.size();
  const std::uint64_t base = x86::kMmioDevices + slot * x86::kMmioDeviceSize;
  const std::uint32_t gsi = x86::kMmioIrqs[slot];
  const std::span<const std::uint16_t> queue_sizes = device.device->queue_sizes();
  device.info.address = base;
  device.info.irq = gsi;
  device.info.queues = static_cast<std::uint32_t>(queue_sizes.size());
  device.info.queue_size = queue_sizes[0];
  ASSIGN_OR_RETURN(Interrupt* const line, NewLine(gsi));
  virtio::MmioTransport::Wiring wiring;
  wiring.memory = memory_.get();
  wiring.io_events = vm_.get();
  wiring.base = base;
  wiring.line = line;
  wiring.name = device.info.name;
  ASSIGN_OR_RETURN(std::unique_ptr<virtio::MmioTransport> transport,
                   virtio::MmioTransport::Create(std::move(wiring), std::move(device.device)));
  RETURN_IF_ERROR(mmio_.Map(base, virtio::MmioTransport::kSize, transport.get()));
  transports_.push_back(std::move(transport));
  devices_.push_back(std::move(device.info));
  return {};
}

Status MicroMachine::CreateSerial(UniqueFd in, UniqueFd out) {
  ASSIGN_OR_RETURN(Interrupt* const line, NewLine(x86::kIrqSerial));
  std::unique_ptr<SerialBackend> backend;
  switch (config_.serial.kind) {
    case SerialConfig::Kind::kNone:
      break;
    case SerialConfig::Kind::kStdio:
    case SerialConfig::Kind::kFile:
      backend = std::make_unique<FdBackend>("serial", loop_, std::move(in), std::move(out));
      break;
    case SerialConfig::Kind::kPty: {
      ASSIGN_OR_RETURN(backend, PtyBackend::Create(loop_, std::move(in)));
      break;
    }
    case SerialConfig::Kind::kUnix:
      backend = std::make_unique<SocketBackend>("serial", loop_, std::move(in));
      break;
  }
  ASSIGN_OR_RETURN(serial_, Serial::Create("serial", loop_, line, std::move(backend)));
  return ports_.Map(x86::kPortSerial, Serial::kPorts, serial_.get());
}

// Started, but paused: what is done to a vCPU is done on its thread.
Status MicroMachine::CreateVcpus() {
  const kvm::HostCapabilities& limits = kvm_->capabilities();
  if (config_.cpus > limits.max_vcpus)
    return InvalidArgument("cpus: {}: this host's KVM gives a VM at most {}", config_.cpus,
                           limits.max_vcpus);
  const x86::HostCpu host{.supported = kvm_->supported_cpuid(),
                          .tsc_deadline_timer = limits.tsc_deadline_timer,
                          .brand = x86::ReadBrand()};
  ASSIGN_OR_RETURN(const x86::CpuidTable cpuid,
                   x86::MakeGuestCpuid(host, config_.cpu_model, config_.cpus));
  for (std::uint32_t id = 0; id < config_.cpus; ++id) {
    ASSIGN_OR_RETURN(std::unique_ptr<kvm::Vcpu> vcpu, vm_->CreateVcpu(id));
    RETURN_IF_ERROR(vcpu->SetCpuid(x86::CpuidOfCpu(cpuid, id)));
    RETURN_IF_ERROR(vcpu->SetMsrs(x86::FirmwareMsrs()));
    RETURN_IF_ERROR(vcpu->SaveInitialState());
    ASSIGN_OR_RETURN(
        std::unique_ptr<kvm::VcpuThread> thread,
        kvm::VcpuThread::Start(
            std::move(vcpu),
            {.ports = &ports_, .memory = &mmio_, .events = this, .on_thread_start = {}}));
    vcpus_.push_back(std::move(thread));
  }
  return {};
}

Status MicroMachine::LoadGuest() {
  boot::BootSources sources;
  sources.kernel_fd = kernel_.get();
  sources.kernel_name = config_.boot.kernel;
  sources.initrd_fd = initrd_.get();
  sources.initrd_name = config_.boot.initrd;
  sources.cmdline = config_.boot.cmdline;
  const auto devices = static_cast<std::uint32_t>(transports_.size());
  if (config_.acpi) {
    ASSIGN_OR_RETURN(sources.rsdp, x86::WriteAcpiTables(*memory_, {config_.cpus, devices}));
  } else {
    RETURN_IF_ERROR(x86::WriteMpTable(*memory_, config_.cpus));
    // In front: what follows a "--" goes to init.
    const std::string words = x86::MmioCmdlineWords(devices);
    sources.cmdline = words.empty() ? sources.cmdline : words + ' ' + sources.cmdline;
  }
  ASSIGN_OR_RETURN(const x86::BootState state, boot::Load(*memory_, sources));
  return vcpus_[0]->RunPaused([&](kvm::Vcpu& vcpu) { return vcpu.SetBootState(state); });
}

}  // namespace gemel
