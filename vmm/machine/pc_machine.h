// The machine of every profile: memory, KVM, the chips that every PC has, a Platform for what
// differs, and how it moves between its states. pc_builder.cc puts it together.
#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "block/iscsi/shared_claim.h"
#include "virtio/blk/device.h"
#include "vmm/bus/interrupt.h"
#include "vmm/bus/io_bus.h"
#include "vmm/devices/console_hub.h"
#include "vmm/devices/i8042.h"
#include "vmm/devices/machine_events.h"
#include "vmm/devices/reset_port.h"
#include "vmm/devices/rtc.h"
#include "vmm/devices/serial.h"
#include "vmm/devices/serial_backends.h"
#include "vmm/fence/fence.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/vcpu_thread.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/platform.h"
#include "vmm/memory/guest_memory.h"

namespace gemel {

class PcMachine : public Machine, private MachineEvents, private kvm::VcpuEvents {
 public:
  PcMachine(MachineConfig config, EventLoop* loop, MachineObserver* observer);
  ~PcMachine() override;

  // Called once, before anything else. On failure the machine is only good for destruction.
  Status Construct(MachineFds fds);

  MachineState state() const override { return state_; }
  std::vector<MachineDevice> devices() const override;
  std::vector<MachineVcpu> vcpus() const override;
  std::uint64_t resets() const override { return boot_; }
  Status Start() override;
  Status Pause() override;
  Status Resume() override;
  Status Reset() override;
  Status PressPowerButton() override;
  Status PressSleepButton() override;
  Status SetLink(const std::string& device, bool up) override;
  void PowerOff() override;
  void DrainSerial(int timeout_ms) override;
  std::optional<MachineFence> fence() const override;
  Status ResumeUnder(const cluster::FenceGrant& grant) override;
  virtio::BalloonControl* balloon() override { return balloon_; }

 private:
  // ---- building (pc_builder.cc)
  Status CreateMemory();
  Status CreateChips();
  Status CreateSerial(UniqueFd in, UniqueFd out);
  Status CreateDevices(MachineFds& fds);
  Status CreateVcpus();
  Interrupt* NewLine(std::uint32_t gsi);
  // Puts kernel, tables and initrd into (zeroed) guest memory and the first vCPU at its entry.
  Status LoadGuest();

  // ---- the latch (pc_latch.cc)
  Status CreateFence(const MachineFds& fds);
  void OnFenceShut();
  void OnProved(std::size_t in_flight);
  // kFailedPrecondition while the fence is shut.
  Status RequireOpen(std::string_view what) const;

  // ---- running
  void PauseVcpus();
  void ResumeVcpus();
  void BeginReset();
  void PostFinishReset();
  void FinishReset();
  Status ReloadGuest();
  void EndVcpus();
  void WaitForDevices();
  bool UserSpaceSeen() const;
  void Crash(const std::string& reason, const std::string& report);
  void GuestReboots();

  // MachineEvents and VcpuEvents: on vCPU threads; each only posts to the loop.
  void OnPowerOff() override;
  void OnReset() override;
  void OnPanic(Panic panic) override;
  void OnTripleFault(std::uint32_t vcpu, std::string report) override;
  void OnFailure(std::uint32_t vcpu, std::string reason, std::string report) override;
  void OnSystemReset(std::uint32_t vcpu) override;
  void OnSystemShutdown(std::uint32_t vcpu) override;
  void PostIfAlive(std::function<void()> task);
  void PostOfThisBoot(std::function<void()> task);

  const MachineConfig config_;
  EventLoop* const loop_;            // outlives the machine
  MachineObserver* const observer_;  // the same
  // Closures in the loop's queue hold a weak reference: the machine may be gone when they run.
  const std::shared_ptr<PcMachine*> alive_;
  MachineState state_ = MachineState::kBuilt;
  MachineState after_reset_ = MachineState::kRunning;
  std::size_t resets_pending_ = 0;
  std::atomic<std::uint64_t> boot_{0};  // counts resets; changed while no vCPU runs
  std::atomic<bool> power_off_posted_{false};
  std::atomic<bool> reset_posted_{false};
  std::atomic<unsigned> panics_posted_{0};  // bit n: Panic n

  UniqueFd kernel_, initrd_;
  SystemClock clock_;
  std::unique_ptr<Fence> fence_;  // or none; outlives all that asks it
  block::SharedClaim claims_;     // of disks on targets, for the fence's epoch; the same
  MachineFence fence_state_;
  bool told_ = false;  // the observer, of this latch
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<kvm::Kvm> kvm_;
  std::unique_ptr<kvm::Vm> vm_;
  kvm::IrqchipState initial_irqchip_;
  std::vector<std::unique_ptr<Interrupt>> lines_;
  IoBus ports_, mmio_;
  std::unique_ptr<Serial> serial_;
  std::unique_ptr<Rtc> rtc_;
  std::unique_ptr<I8042> i8042_;
  std::unique_ptr<ResetPort> reset_port_;
  std::vector<std::pair<std::string, std::shared_ptr<virtio::BlkCounters>>> disks_;  // by name
  std::unique_ptr<Platform> platform_;
  std::vector<std::pair<std::string, virtio::NetDevice*>> nets_;  // the platform's, by name
  virtio::BalloonControl* balloon_ = nullptr;                     // the platform's
  // Last: destroyed, and so stopped, before anything that a vCPU thread can reach.
  std::vector<std::unique_ptr<kvm::VcpuThread>> vcpus_;
};

}  // namespace gemel
