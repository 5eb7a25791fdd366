// One KVM virtual machine: its memory, interrupt controllers, eventfds and vCPUs.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/bus/interrupt.h"
#include "vmm/bus/io_event.h"
#include "vmm/bus/irq_lines.h"
#include "vmm/bus/msi.h"
#include "vmm/kvm/gsi_routes.h"
#include "vmm/kvm/irq_routing.h"
#include "vmm/kvm/kvm.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/memory/memory_slots.h"

namespace gemel::kvm {

class Vcpu;

// What the in-kernel PICs, IOAPIC and PIT hold. Opaque; the LAPICs are with the vCPUs.
struct IrqchipState {
  std::array<std::vector<std::byte>, 3> chips;
  std::vector<std::byte> pit;
};

// Set up by one thread. CreateInterrupt, CreateMsi, SetLevel, Add and Remove may be called by any
// thread at any time; Show and Hide by any, one at a time. Outlives its Interrupts; its Vcpus may
// outlive it.
class Vm : public IoEventRegistrar, public IrqLines, public MsiAllocator, public MemorySlots {
 public:
  ~Vm() override = default;
  Vm(const Vm&) = delete;
  Vm& operator=(const Vm&) = delete;

  // Gives the guest this RAM, a slot a region, but for `apart`, which is for Show and Hide. `memory`
  // must outlive the VM and its vCPUs.
  // kInvalidArgument, naming address and limit, for RAM beyond the guest's physical address bits.
  // REQUIRES: `apart` is empty or lies inside one region.
  Status SetMemory(const GuestMemory& memory, MemoryRange apart = {});
  // MemorySlots, over what was set apart.
  Status Show(std::uint32_t slot, MemoryRange range, bool read_only) override;
  Status Hide(std::uint32_t slot) override;

  // Makes PICs, IOAPIC, LAPICs and PIT in the kernel, wired as PcIrqRoutes says. Before CreateVcpu.
  Status CreateIrqchip();
  Result<IrqchipState> SaveIrqchip() const;
  // REQUIRES: no vCPU runs.
  Status RestoreIrqchip(const IrqchipState& state);

  // An interrupt line; Trigger is an edge. Nobody may hold a level on it. REQUIRES: CreateIrqchip was
  // called.
  std::unique_ptr<Interrupt> CreateInterrupt(std::uint32_t gsi);
  // IrqLines: a level on an input of the controllers, held until it is let go. The same.
  void SetLevel(std::uint32_t gsi, bool asserted) override;
  // MsiAllocator. The same.
  Result<std::unique_ptr<MsiInterrupt>> CreateMsi() override;

  // IoEventRegistrar: kAlreadyExists if the same is registered, kNotFound if it is not.
  Status Add(std::uint64_t address, std::optional<std::uint32_t> match, int event_fd) override;
  Status Remove(std::uint64_t address, std::optional<std::uint32_t> match, int event_fd) override;

  // vCPU 0 is the one that starts (the BSP); the others wait for INIT and SIPI. `id` is its APIC
  // id.
  Result<std::unique_ptr<Vcpu>> CreateVcpu(std::uint32_t id);

  // The guest's kvmclock in nanoseconds; set it to go on where a paused or saved guest left off.
  Result<std::uint64_t> Clock() const;
  Status SetClock(std::uint64_t ns);

 private:
  friend class Kvm;
  Vm(UniqueFd fd, std::size_t run_size, const HostCapabilities& capabilities,
     std::vector<std::uint32_t> msrs)
      : fd_(std::move(fd)),
        run_size_(run_size),
        capabilities_(capabilities),
        msrs_(std::move(msrs)),
        routes_(fd_.get(), capabilities.irq_routes) {}
  Status SetSlot(std::uint32_t slot, const GuestMemory::Region& region, std::uint32_t flags = 0);
  Status ChangeIoEvent(std::uint64_t address, std::optional<std::uint32_t> match, int event_fd,
                       std::uint32_t flags);

  UniqueFd fd_;
  std::size_t run_size_;
  HostCapabilities capabilities_;
  std::vector<std::uint32_t> msrs_;  // that make up a vCPU's state
  GsiRoutes routes_;
  const GuestMemory* memory_ = nullptr;  // SetMemory's caller owns it
};

}  // namespace gemel::kvm
