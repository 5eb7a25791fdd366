#include <utility>

#include "vmm/arch/x86/cpuid.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/boot/boot.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/machine/pc_machine.h"

namespace gemel {

Result<std::unique_ptr<Machine>> Machine::Build(const MachineConfig& config, MachineFds fds,
                                                EventLoop* loop, MachineObserver* observer) {
  auto machine = std::make_unique<PcMachine>(config, loop, observer);
  RETURN_IF_ERROR(machine->Construct(std::move(fds)));
  return machine;
}

Status PcMachine::Construct(MachineFds fds) {
  kernel_ = std::move(fds.kernel);
  initrd_ = std::move(fds.initrd);
  RETURN_IF_ERROR(CreateFence(fds));
  ASSIGN_OR_RETURN(kvm_, kvm::Kvm::Create(std::move(fds.kvm)));
  ASSIGN_OR_RETURN(vm_, kvm_->CreateVm());
  RETURN_IF_ERROR(CreateMemory());
  RETURN_IF_ERROR(vm_->CreateIrqchip());
  ASSIGN_OR_RETURN(initial_irqchip_, vm_->SaveIrqchip());
  RETURN_IF_ERROR(CreateChips());
  RETURN_IF_ERROR(CreateSerial(std::move(fds.serial_in), std::move(fds.serial_out)));
  RETURN_IF_ERROR(CreateDevices(fds));
  RETURN_IF_ERROR(CreateVcpus());
  observer_->OnAssembled();
  return LoadGuest();
}

Status PcMachine::CreateMemory() {
  const MemoryBacking backing = config_.memory.hugepages ? MemoryBacking::kHugePages
                                : config_.memory.shared  ? MemoryBacking::kShared
                                                         : MemoryBacking::kAnonymous;
  const std::vector<MemoryRange> ram = Platform::Ram(config_);
  ASSIGN_OR_RETURN(memory_, GuestMemory::Create(ram, backing));
  return vm_->SetMemory(*memory_, Platform::Shadowed(config_));
}

Interrupt* PcMachine::NewLine(std::uint32_t gsi) {
  lines_.push_back(vm_->CreateInterrupt(gsi));
  return lines_.back().get();
}

// The chips every PC has.
Status PcMachine::CreateChips() {
  Interrupt* const rtc_line = NewLine(x86::kIrqRtc);
  ASSIGN_OR_RETURN(rtc_, Rtc::Create(loop_, rtc_line, &clock_));
  MachineEvents* const events = this;
  i8042_ = std::make_unique<I8042>(events);
  reset_port_ = std::make_unique<ResetPort>(events);
  RETURN_IF_ERROR(ports_.Map(x86::kPortCmos, Rtc::kPorts, rtc_.get()));
  return ports_.Map(x86::kPortI8042, I8042::kPorts, i8042_.get());
}

Status PcMachine::CreateDevices(MachineFds& fds) {
  PlatformBase base;
  base.config = &config_;
  base.loop = loop_;
  base.events = this;
  base.memory = memory_.get();
  base.vm = vm_.get();
  base.physical_address_bits = kvm_->capabilities().physical_address_bits;
  base.clock = &clock_;
  base.reset_port = reset_port_.get();
  base.ports = &ports_;
  base.mmio = &mmio_;
  ASSIGN_OR_RETURN(platform_, Platform::Create(base));
  const auto on_trouble = [this](const std::string& device, const virtio::BlkTrouble& trouble) {
    PostIfAlive([this, device, trouble] { observer_->OnDiskTrouble(device, trouble); });
  };
  ASSIGN_OR_RETURN(std::vector<VirtioPart> parts,
                   CreateVirtioDevices(config_, fds, on_trouble, {fence_.get(), &claims_}));
  for (VirtioPart& part : parts) {
    if (part.net != nullptr) nets_.emplace_back(part.info.name, part.net);
    if (part.disk != nullptr) disks_.emplace_back(part.info.name, part.disk);
    if (part.balloon != nullptr) balloon_ = part.balloon;
    RETURN_IF_ERROR(platform_->Attach(std::move(part)));
  }
  return {};
}

Status PcMachine::CreateSerial(UniqueFd in, UniqueFd out) {
  Interrupt* const line = NewLine(x86::kIrqSerial);
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
    case SerialConfig::Kind::kHub: {
      ASSIGN_OR_RETURN(backend, ConsoleHub::Create("serial", loop_, std::move(in), std::move(out)));
      break;
    }
  }
  ASSIGN_OR_RETURN(serial_, Serial::Create("serial", loop_, line, std::move(backend)));
  return ports_.Map(x86::kPortSerial, Serial::kPorts, serial_.get());
}

// Started, but paused: what is done to a vCPU is done on its thread.
Status PcMachine::CreateVcpus() {
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
            {.ports = &ports_, .memory = &mmio_, .events = this, .permit = fence_.get()}));
    vcpus_.push_back(std::move(thread));
  }
  return {};
}

Status PcMachine::LoadGuest() {
  boot::BootSources sources;
  sources.kernel_fd = kernel_.get();
  sources.kernel_name = config_.boot.kernel;
  sources.initrd_fd = initrd_.get();
  sources.initrd_name = config_.boot.initrd;
  sources.cmdline = config_.boot.cmdline;
  RETURN_IF_ERROR(platform_->WriteTables(sources));
  ASSIGN_OR_RETURN(const x86::BootState state, boot::Load(*memory_, sources));
  return vcpus_[0]->RunPaused([&](kvm::Vcpu& vcpu) { return vcpu.SetBootState(state); });
}

}  // namespace gemel
