// A machine of the least kind for bare-metal guests (tests/guests): RAM, interrupt controllers,
// vCPUs, a console that is collected, and an exit port. Everything waits with a limit.
#pragma once
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "vmm/bus/io_bus.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/vcpu_thread.h"
#include "vmm/kvm/vm.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::kvm {

// Ends the test as skipped, saying why, where there is no KVM to test with.
#define SKIP_WITHOUT_KVM() \
  if (const std::string reason = ::gemel::kvm::WhyNoKvm(); !reason.empty()) GTEST_SKIP() << reason

std::string WhyNoKvm();
std::unique_ptr<Kvm> OpenKvm();

class TestMachine : public VcpuEvents, public IoHandler {
 public:
  enum class End : std::uint8_t { kExit, kTripleFault, kFailure, kReset, kShutdown, kTimeout };

  // Loads `guest` (a file of tests/guests) with `cmdline`. Nothing runs yet. Aborts the test
  // program if anything fails: KVM was found before.
  TestMachine(const std::string& guest, const std::string& cmdline, std::uint32_t cpus = 1);
  ~TestMachine() override;

  // Devices may be mapped until Start.
  IoBus& ports() { return ports_; }
  IoBus& memory_bus() { return memory_bus_; }
  Vm& vm() { return *vm_; }
  const GuestMemory& memory() const { return *memory_; }
  VcpuThread& vcpu(std::size_t i) { return *vcpus_.at(i); }
  std::size_t cpus() const { return cpus_; }

  void Start();
  void StartWith(Permit* permit);  // VcpuEnvironment::permit
  // Waits until the guest writes the exit port or cannot go on; a guest that does neither within
  // the limit has failed the test.
  End WaitForEnd();
  // Waits until the console holds `text`; false if it does not within the limit.
  bool WaitForConsole(const std::string& text);
  void PauseAll();
  void ResumeAll();
  // Puts everything back to how it was before Start, and loads the guest anew. REQUIRES: all
  // paused.
  void Reset();

  std::string console() EXCLUDES(mutex_);
  std::uint32_t exit_code() EXCLUDES(mutex_);
  std::uint32_t ended_by() EXCLUDES(mutex_);  // the vCPU of a triple fault or failure
  std::string report() EXCLUDES(mutex_);

  // VcpuEvents
  void OnTripleFault(std::uint32_t vcpu, std::string report) override;
  void OnFailure(std::uint32_t vcpu, std::string reason, std::string report) override;
  void OnSystemReset(std::uint32_t vcpu) override;
  void OnSystemShutdown(std::uint32_t vcpu) override;
  // IoHandler of the serial port
  std::string_view name() const override { return "console"; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override;
  void Write(std::uint64_t offset, std::span<const std::byte> data) override;

 private:
  class ExitPort : public IoHandler {
   public:
    explicit ExitPort(TestMachine* machine) : machine_(machine) {}
    std::string_view name() const override { return "exit"; }
    void Read(std::uint64_t, std::span<std::byte> data) override;
    void Write(std::uint64_t, std::span<const std::byte> data) override;

   private:
    TestMachine* machine_;  // owns this
  };
  void Finish(End end, std::uint32_t vcpu, std::string report) EXCLUDES(mutex_);
  x86::BootState LoadGuest();

  std::string guest_;
  std::string cmdline_;
  std::uint32_t cpus_;
  std::unique_ptr<Kvm> kvm_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<Vm> vm_;
  IoBus ports_;
  IoBus memory_bus_;
  ExitPort exit_port_{this};
  IrqchipState irqchip_;
  std::vector<std::unique_ptr<Vcpu>> prepared_;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;

  Mutex mutex_;
  std::condition_variable_any changed_;
  std::optional<End> end_ GUARDED_BY(mutex_);
  std::string console_ GUARDED_BY(mutex_);
  std::string report_ GUARDED_BY(mutex_);
  std::uint32_t exit_code_ GUARDED_BY(mutex_) = 0;
  std::uint32_t ended_by_ GUARDED_BY(mutex_) = 0;
};

}  // namespace gemel::kvm
