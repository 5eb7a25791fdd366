#include "vmm/machine/pc_machine.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/mutex.h"
#include "vmm/kvm/vcpu.h"

namespace gemel {
namespace {

// From power-off to the end of the process, whatever the storage does; less than a controller's
// patience.
constexpr std::chrono::seconds kDeviceGrace{2};

const char* Name(MachineState state) {
  switch (state) {
    case MachineState::kBuilt:
      return "not started yet";
    case MachineState::kRunning:
      return "running";
    case MachineState::kPaused:
      return "paused";
    case MachineState::kResetting:
      return "being reset";
    case MachineState::kOff:
      return "off";
  }
  return "?";
}

}  // namespace

PcMachine::PcMachine(MachineConfig config, EventLoop* loop, MachineObserver* observer)
    : config_(std::move(config)),
      loop_(loop),
      observer_(observer),
      alive_(std::make_shared<PcMachine*>(this)) {}

PcMachine::~PcMachine() = default;

// ---- what the owner asks for --------------------------------------------------------------------

Status PcMachine::Start() {
  if (state_ != MachineState::kBuilt)
    return FailedPrecondition("start: this VM is {}", Name(state_));
  RETURN_IF_ERROR(RequireOpen("start"));
  state_ = MachineState::kRunning;
  ResumeVcpus();
  return {};
}

Status PcMachine::Pause() {
  if (state_ == MachineState::kPaused) return {};
  if (state_ != MachineState::kRunning)
    return FailedPrecondition("pause: this VM is {}", Name(state_));
  PauseVcpus();
  state_ = MachineState::kPaused;
  return {};
}

Status PcMachine::Resume() {
  if (state_ == MachineState::kRunning) return {};
  if (state_ != MachineState::kPaused)
    return FailedPrecondition("resume: this VM is {}", Name(state_));
  RETURN_IF_ERROR(RequireOpen("resume"));
  state_ = MachineState::kRunning;
  ResumeVcpus();
  return {};
}

Status PcMachine::Reset() {
  if (state_ != MachineState::kRunning && state_ != MachineState::kPaused)
    return FailedPrecondition("reset: this VM is {}", Name(state_));
  RETURN_IF_ERROR(RequireOpen("reset"));
  BeginReset();
  return {};
}

std::vector<MachineDevice> PcMachine::devices() const {
  std::vector<MachineDevice> devices = platform_->devices();
  for (MachineDevice& device : devices) {
    for (const auto& [name, net] : nets_)
      if (name == device.name) device.counters = net->counters();
    for (const auto& [name, counters] : disks_)
      if (name == device.name) device.counters = virtio::List(*counters);
  }
  return devices;
}

std::vector<MachineVcpu> PcMachine::vcpus() const {
  std::vector<MachineVcpu> all;
  for (const auto& vcpu : vcpus_) {
    MachineVcpu& one = all.emplace_back();
    one.cpu_ns = vcpu->cpu_ns();
    const auto counts = vcpu->exit_counts();
    for (std::size_t kind = 0; kind < counts.size(); ++kind)
      one.exits.emplace_back(kvm::ExitWord(static_cast<kvm::Exit>(kind)), counts[kind]);
  }
  return all;
}

Status PcMachine::SetLink(const std::string& device, bool up) {
  for (const auto& [name, net] : nets_) {
    if (name != device) continue;
    net->SetLink(up);
    return {};
  }
  return MakeError(Code::kNotFound, fmt::format("link: {}: no such network device", device));
}

Status PcMachine::PressPowerButton() {
  if (state_ == MachineState::kOff || state_ == MachineState::kBuilt)
    return FailedPrecondition("power button: this VM is {}", Name(state_));
  if (!config_.acpi) return FailedPrecondition("power button: this VM runs with acpi=off");
  platform_->PressPowerButton();
  return {};
}

Status PcMachine::PressSleepButton() {
  if (state_ == MachineState::kOff || state_ == MachineState::kBuilt)
    return FailedPrecondition("sleep button: this VM is {}", Name(state_));
  return platform_->PressSleepButton();
}

void PcMachine::PowerOff() {
  if (state_ == MachineState::kOff) return;
  EndVcpus();
  observer_->OnPoweredOff();
}

void PcMachine::DrainSerial(int timeout_ms) { serial_->Drain(timeout_ms); }

// ---- vCPUs --------------------------------------------------------------------------------------

void PcMachine::PauseVcpus() {
  for (auto& vcpu : vcpus_) vcpu->RequestPause();
  for (auto& vcpu : vcpus_) vcpu->WaitPaused();
}

void PcMachine::ResumeVcpus() {
  for (auto& vcpu : vcpus_) vcpu->Resume();
}

// The threads end, and then every device drains, so that nothing of the guest is at work any more.
void PcMachine::EndVcpus() {
  state_ = MachineState::kOff;
  PauseVcpus();
  for (auto& vcpu : vcpus_) vcpu->Stop();
  WaitForDevices();
}

namespace {

// What the workers and the waiting loop share; the loop may leave first.
struct Quiescence {
  Mutex mutex;
  std::condition_variable_any changed;
  std::size_t busy GUARDED_BY(mutex) = 0;
};

}  // namespace

// Bounded: storage that hangs must not keep the end of the machine from being told. What is in
// flight then was never acknowledged, and ends with the process; so does what the latch holds.
void PcMachine::WaitForDevices() {
  if (fence_ != nullptr && fence_->shut()) return;
  const auto shared = std::make_shared<Quiescence>();
  {
    const MutexLock lock(shared->mutex);
    shared->busy = platform_->devices().size();
  }
  platform_->ResetDevices([shared] {
    const MutexLock lock(shared->mutex);
    --shared->busy;
    shared->changed.notify_all();
  });
  const auto deadline = std::chrono::steady_clock::now() + kDeviceGrace;
  const MutexLock lock(shared->mutex);
  while (shared->busy > 0) {
    if (shared->changed.wait_until(shared->mutex, deadline) == std::cv_status::timeout) {
      LOG(kWarning, "machine", "{} devices are still busy: ending without them", shared->busy);
      return;
    }
  }
}

// ---- reset: pause, drain every device, clear, load again, go on ---------------------------------

void PcMachine::BeginReset() {
  after_reset_ = state_;
  state_ = MachineState::kResetting;
  PauseVcpus();
  ++boot_;
  reset_posted_ = false;
  panics_posted_ = 0;
  resets_pending_ = platform_->devices().size();
  // Never from within BeginReset: whoever asked for the reset hears of its end later.
  if (resets_pending_ == 0) return PostFinishReset();
  platform_->ResetDevices([this] {
    PostIfAlive([this] {
      if (--resets_pending_ == 0) PostFinishReset();
    });
  });
}

void PcMachine::PostFinishReset() {
  PostIfAlive([this] {
    if (state_ == MachineState::kResetting) FinishReset();
  });
}

void PcMachine::FinishReset() {
  if (const Status reloaded = ReloadGuest(); !reloaded)
    return Crash(fmt::format("reset: {}", reloaded.error().message), "");
  state_ = after_reset_;
  observer_->OnResetDone();
  if (state_ == MachineState::kRunning) ResumeVcpus();
}

Status PcMachine::ReloadGuest() {
  serial_->Reset();
  rtc_->Reset();
  reset_port_->Reset();
  RETURN_IF_ERROR(platform_->ResetChips());
  RETURN_IF_ERROR(memory_->Clear());
  RETURN_IF_ERROR(vm_->RestoreIrqchip(initial_irqchip_));
  for (auto& vcpu : vcpus_) {
    vcpu->ForgetUserSpace();
    RETURN_IF_ERROR(
        vcpu->RunPaused([](kvm::Vcpu& paused) { return paused.RestoreInitialState(); }));
  }
  return LoadGuest();
}

// ---- what the guest does, handed over from vCPU threads -----------------------------------------

void PcMachine::PostIfAlive(std::function<void()> task) {
  loop_->Post([weak = std::weak_ptr(alive_), task = std::move(task)] {
    if (const auto alive = weak.lock()) task();
  });
}

// A guest can ask thousands of times before the loop stops it; one closure is enough.
void PcMachine::OnPowerOff() {
  if (power_off_posted_.exchange(true)) return;
  PostIfAlive([this] { PowerOff(); });
}

void PcMachine::OnReset() {
  if (reset_posted_.exchange(true)) return;
  PostOfThisBoot([this] { GuestReboots(); });
}

// A kernel that dumps ends by itself, with a reboot.
void PcMachine::OnPanic(Panic panic) {
  const unsigned bit = 1u << static_cast<unsigned>(panic);
  if ((panics_posted_.fetch_or(bit) & bit) != 0) return;
  PostOfThisBoot([this, panic] {
    if (panic == Panic::kDumping) {
      LOG(kWarning, "machine", "the guest's kernel panicked, and writes a dump");
      return;
    }
    if (state_ == MachineState::kOff) return;
    EndVcpus();
    observer_->OnPanicked();
  });
}

// The guest runs on until its vCPUs are paused: what it still causes then must not reach the next
// boot.
void PcMachine::PostOfThisBoot(std::function<void()> task) {
  PostIfAlive([this, boot = boot_.load(), task = std::move(task)] {
    if (boot == boot_) task();
  });
}

void PcMachine::OnSystemReset(std::uint32_t) { OnReset(); }
void PcMachine::OnSystemShutdown(std::uint32_t) { OnPowerOff(); }

// docs/decisions/001-what-a-triple-fault-means.md
void PcMachine::OnTripleFault(std::uint32_t vcpu, std::string report) {
  PostOfThisBoot([this, vcpu, report = std::move(report)] {
    const std::string reason = fmt::format("vCPU {}: triple fault", vcpu);
    if (!UserSpaceSeen()) {
      if (state_ == MachineState::kOff) return;
      EndVcpus();
      return observer_->OnTripleFault(reason + " before the guest came up", report);
    }
    LOG(kWarning, "machine", "{}, taken as a reboot\n{}", reason, report);
    GuestReboots();
  });
}

bool PcMachine::UserSpaceSeen() const {
  return std::ranges::any_of(vcpus_, [](const auto& vcpu) { return vcpu->user_space_seen(); });
}

void PcMachine::OnFailure(std::uint32_t vcpu, std::string reason, std::string report) {
  PostOfThisBoot([this, vcpu, reason = std::move(reason), report = std::move(report)] {
    Crash(fmt::format("vCPU {}: {}", vcpu, reason), report);
  });
}

void PcMachine::GuestReboots() {
  // Paused: it asked for this just before the pause.
  if (state_ != MachineState::kRunning && state_ != MachineState::kPaused) return;
  if (config_.on_reboot == OnReboot::kReset) return BeginReset();
  EndVcpus();
  observer_->OnRebootExit();
}

void PcMachine::Crash(const std::string& reason, const std::string& report) {
  if (state_ == MachineState::kOff) return;
  EndVcpus();
  observer_->OnCrashed(reason, report);
}

}  // namespace gemel
