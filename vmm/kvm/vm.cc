#include "vmm/kvm/vm.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/kvm/ioctl.h"
#include "vmm/kvm/msi_interrupt.h"
#include "vmm/kvm/vcpu.h"

namespace gemel::kvm {
namespace {

// A pulse on an input of the controllers. Not an irqfd: of anything but a message the kernel hears
// by one only when a worker of its own gets round to it, which costs a switch of threads, and
// milliseconds where this thread has the processor for itself.
class LineInterrupt : public Interrupt {
 public:
  LineInterrupt(Vm* vm, std::uint32_t gsi) : vm_(vm), gsi_(gsi) {}
  void Trigger() override {
    // One pulse at a time: a line that is up already tells nobody anything.
    const MutexLock lock(mutex_);
    vm_->SetLevel(gsi_, true);
    vm_->SetLevel(gsi_, false);
  }
  int event_fd() const override { return -1; }

 private:
  Vm* const vm_;  // outlives this
  const std::uint32_t gsi_;
  Mutex mutex_;
};

template <class T>
std::vector<std::byte> ToBytes(const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  return {bytes.begin(), bytes.end()};
}

// REQUIRES: `bytes` came from ToBytes<T>.
template <class T>
T FromBytes(const std::vector<std::byte>& bytes) {
  CHECK(bytes.size() == sizeof(T));
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

// The regions, but for `apart`.
std::vector<GuestMemory::Region> Without(MemoryRange apart,
                                         std::span<const GuestMemory::Region> regions) {
  std::vector<GuestMemory::Region> pieces;
  for (const GuestMemory::Region& region : regions) {
    const std::uint64_t before = apart.start.value - region.start.value;
    if (apart.size == 0 || before >= region.size) {
      pieces.push_back(region);
      continue;
    }
    CHECK(region.size - before >= apart.size);
    const std::uint64_t behind = before + apart.size;
    if (before > 0) pieces.push_back({region.start, before, region.host, region.file_offset});
    if (behind < region.size)
      pieces.push_back({GuestAddress{region.start.value + behind}, region.size - behind,
                        region.host + behind, region.file_offset + behind});
  }
  return pieces;
}

}  // namespace

Status Vm::SetMemory(const GuestMemory& memory, MemoryRange apart) {
  const std::uint32_t bits = capabilities_.physical_address_bits;
  const std::vector<GuestMemory::Region> pieces = Without(apart, memory.regions());
  if (pieces.size() + kSlots > capabilities_.memory_slots)
    return InvalidArgument("guest memory: {} regions: this host's KVM has {} slots",
                           pieces.size() + kSlots, capabilities_.memory_slots);
  std::uint32_t slot = kSlots;
  for (const GuestMemory::Region& piece : pieces) {
    const std::uint64_t last = piece.start.value + (piece.size - 1);
    if (bits < 64 && last >> bits != 0)
      return InvalidArgument(
          "guest memory: ends at {:#x}: beyond the {} physical address bits "
          "({} GiB) that this host gives a guest",
          last, bits, (1ull << bits) >> 30);
    RETURN_IF_ERROR(SetSlot(slot++, piece));
  }
  memory_ = &memory;
  return {};
}

Status Vm::SetSlot(std::uint32_t slot, const GuestMemory::Region& region, std::uint32_t flags) {
  kvm_userspace_memory_region change{};
  change.slot = slot;
  change.flags = flags;
  change.guest_phys_addr = region.start.value;
  change.memory_size = region.size;
  // SAFETY: KVM wants the address as a number; it maps the pages and never reads through it here.
  change.userspace_addr = reinterpret_cast<std::uintptr_t>(region.host);
  RETURN_IF_ERROR(
      CheckedIoctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &change, "KVM_SET_USER_MEMORY_REGION"));
  return {};
}

Status Vm::Show(std::uint32_t slot, MemoryRange range, bool read_only) {
  for (const GuestMemory::Region& region : memory_->regions()) {
    const std::uint64_t offset = range.start.value - region.start.value;
    if (offset >= region.size || region.size - offset < range.size) continue;
    return SetSlot(slot, {range.start, range.size, region.host + offset, 0},
                   read_only ? KVM_MEM_READONLY : 0);
  }
  return InvalidArgument("memory slot: {:#x}: is no RAM", range.start.value);
}

Status Vm::Hide(std::uint32_t slot) { return SetSlot(slot, {}); }

Status Vm::CreateIrqchip() {
  // Both before the first vCPU (Documentation/virt/kvm/api.rst, 4.36 and 4.41).
  RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_SET_TSS_ADDR,
                               static_cast<unsigned long>(x86::kKvmTss), "KVM_SET_TSS_ADDR"));
  std::uint64_t identity_map = x86::kKvmIdentityMap;
  RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_SET_IDENTITY_MAP_ADDR, &identity_map,
                               "KVM_SET_IDENTITY_MAP_ADDR"));
  RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_CREATE_IRQCHIP, 0, "KVM_CREATE_IRQCHIP"));
  kvm_pit_config pit{};
  pit.flags = KVM_PIT_SPEAKER_DUMMY;  // port 0x61 answers
  RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2"));
  return routes_.SetLines(PcIrqRoutes());
}

Result<IrqchipState> Vm::SaveIrqchip() const {
  IrqchipState state;
  for (std::uint32_t id = 0; id < state.chips.size(); ++id) {
    kvm_irqchip chip{};
    chip.chip_id = id;
    RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_GET_IRQCHIP, &chip, "KVM_GET_IRQCHIP"));
    state.chips[id] = ToBytes(chip);
  }
  kvm_pit_state2 pit{};
  RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_GET_PIT2, &pit, "KVM_GET_PIT2"));
  state.pit = ToBytes(pit);
  return state;
}

Status Vm::RestoreIrqchip(const IrqchipState& state) {
  for (const std::vector<std::byte>& bytes : state.chips) {
    auto chip = FromBytes<kvm_irqchip>(bytes);
    RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_SET_IRQCHIP, &chip, "KVM_SET_IRQCHIP"));
  }
  auto pit = FromBytes<kvm_pit_state2>(state.pit);
  RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_SET_PIT2, &pit, "KVM_SET_PIT2"));
  return {};
}

std::unique_ptr<Interrupt> Vm::CreateInterrupt(std::uint32_t gsi) {
  return std::make_unique<LineInterrupt>(this, gsi);
}

void Vm::SetLevel(std::uint32_t gsi, bool asserted) {
  kvm_irq_level level{};
  level.irq = gsi;
  level.level = asserted ? 1 : 0;
  Ioctl(fd_.get(), KVM_IRQ_LINE, &level);
}

Result<std::unique_ptr<MsiInterrupt>> Vm::CreateMsi() {
  return IrqfdMsi::Create(fd_.get(), &routes_);
}

Status Vm::ChangeIoEvent(std::uint64_t address, std::optional<std::uint32_t> match, int event_fd,
                         std::uint32_t flags) {
  kvm_ioeventfd event{};
  event.addr = address;
  event.fd = event_fd;
  event.flags = flags;
  // A length of 0 matches every width (KVM_CAP_IOEVENTFD_ANY_LENGTH), but not a value.
  if (match) {
    event.len = 4;
    event.datamatch = *match;
    event.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
  }
  RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_IOEVENTFD, &event, "KVM_IOEVENTFD"));
  return {};
}

Status Vm::Add(std::uint64_t address, std::optional<std::uint32_t> match, int event_fd) {
  return ChangeIoEvent(address, match, event_fd, 0);
}

Status Vm::Remove(std::uint64_t address, std::optional<std::uint32_t> match, int event_fd) {
  return ChangeIoEvent(address, match, event_fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

Result<std::unique_ptr<Vcpu>> Vm::CreateVcpu(std::uint32_t id) {
  CHECK(memory_ != nullptr);
  return Vcpu::Create(fd_.get(), id, run_size_, msrs_, *memory_);
}

Result<std::uint64_t> Vm::Clock() const {
  kvm_clock_data data{};
  RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_GET_CLOCK, &data, "KVM_GET_CLOCK"));
  return data.clock;
}

Status Vm::SetClock(std::uint64_t ns) {
  kvm_clock_data data{};
  data.clock = ns;
  RETURN_IF_ERROR(CheckedIoctl(fd_.get(), KVM_SET_CLOCK, &data, "KVM_SET_CLOCK"));
  return {};
}

}  // namespace gemel::kvm
