#include "tests/unit/vmm/kvm/test_machine.h"

#include <elf.h>
#include <fcntl.h>

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/file_util.h"
#include "base/load_le.h"
#include "vmm/arch/x86/layout.h"

namespace gemel::kvm {
namespace {

constexpr auto kLimit = std::chrono::seconds(20);
constexpr std::uint64_t kRam = 16ull << 20;
constexpr std::uint16_t kExitPort = 0xf4;

template <class T>
T Must(Result<T> result) {
  if (!result) {
    fprintf(stderr, "test machine: %s\n", result.error().message.c_str());
    abort();
  }
  return std::move(*result);
}
void Must(Status status) {
  if (status) return;
  fprintf(stderr, "test machine: %s\n", status.error().message.c_str());
  abort();
}

// Where Meson built the guests.
std::string GuestPath(const std::string& name) {
  const char* folder = std::getenv("GEMEL_TEST_GUESTS");
  return std::string(folder != nullptr ? folder : "tests/guests") + "/guest-" + name;
}

// Our own guests only: one trusted file with one PT_LOAD, no checks but that it fits.
std::uint64_t LoadElf(const std::string& path, const GuestMemory& memory) {
  const UniqueFd fd = Must(OpenFile(path, O_RDONLY));
  std::vector<std::byte> file(Must(FileSize(fd.get())));
  Must(ReadExactlyAt(fd.get(), 0, file));
  const std::span<const std::byte> bytes(file);
  const std::uint64_t headers = LoadLe64(bytes, offsetof(Elf64_Ehdr, e_phoff));
  const std::uint16_t count = LoadLe16(bytes, offsetof(Elf64_Ehdr, e_phnum));
  for (std::size_t i = 0; i < count; ++i) {
    const auto header = bytes.subspan(headers + i * sizeof(Elf64_Phdr), sizeof(Elf64_Phdr));
    if (LoadLe32(header) != PT_LOAD) continue;
    const auto segment = bytes.subspan(LoadLe64(header, offsetof(Elf64_Phdr, p_offset)),
                                       LoadLe64(header, offsetof(Elf64_Phdr, p_filesz)));
    const GuestAddress at{LoadLe64(header, offsetof(Elf64_Phdr, p_paddr))};
    CHECK(memory.WriteBytes(at, segment).has_value());
  }
  return LoadLe64(bytes, offsetof(Elf64_Ehdr, e_entry));
}

// hvm_start_info (Xen, public/arch-x86/hvm/start_info.h) and the command line.
void WriteStartInfo(const GuestMemory& memory, const std::string& cmdline) {
  std::array<std::byte, 56> info{};
  StoreLe<std::uint32_t>(info, 0, 0x336ec578);
  StoreLe<std::uint32_t>(info, 4, 1);
  StoreLe<std::uint64_t>(info, 24, x86::kCmdline);
  CHECK(memory.WriteBytes(GuestAddress{x86::kPvhStartInfo}, info).has_value());
  const auto text = std::as_bytes(std::span(cmdline.c_str(), cmdline.size() + 1));
  CHECK(memory.WriteBytes(GuestAddress{x86::kCmdline}, text).has_value());
}

}  // namespace

std::string WhyNoKvm() {
  auto fd = OpenFile("/dev/kvm", O_RDWR);
  if (!fd) return "NOT TESTED, no usable KVM: " + fd.error().message;
  auto kvm = Kvm::Create(std::move(*fd));
  // Anything else is ours, and OpenKvm will say so.
  if (kvm || kvm.error().code != Code::kFailedPrecondition) return "";
  return "NOT TESTED, no usable KVM: " + kvm.error().message;
}

std::unique_ptr<Kvm> OpenKvm() { return Must(Kvm::Create(Must(OpenFile("/dev/kvm", O_RDWR)))); }

TestMachine::TestMachine(const std::string& guest, const std::string& cmdline, std::uint32_t cpus)
    : guest_(guest), cmdline_(cmdline), cpus_(cpus), kvm_(OpenKvm()) {
  const MemoryRange ram{GuestAddress{0}, kRam};
  memory_ = Must(GuestMemory::Create(std::span(&ram, 1), MemoryBacking::kAnonymous));
  vm_ = Must(kvm_->CreateVm());
  Must(vm_->SetMemory(*memory_));
  Must(vm_->CreateIrqchip());
  const x86::BootState boot = LoadGuest();
  const x86::HostCpu host{kvm_->supported_cpuid(), kvm_->capabilities().tsc_deadline_timer,
                          x86::ReadBrand()};
  const x86::CpuidTable cpuid = Must(x86::MakeGuestCpuid(host, "host", cpus));
  for (std::uint32_t id = 0; id < cpus; ++id) {
    auto vcpu = Must(vm_->CreateVcpu(id));
    Must(vcpu->SetCpuid(x86::CpuidOfCpu(cpuid, id)));
    Must(vcpu->SetMsrs(x86::FirmwareMsrs()));
    if (id == 0) Must(vcpu->SetBootState(boot));
    Must(vcpu->SaveInitialState());
    prepared_.push_back(std::move(vcpu));
  }
  irqchip_ = Must(vm_->SaveIrqchip());
  Must(ports_.Map(x86::kPortSerial, 8, this));
  Must(ports_.Map(kExitPort, 4, &exit_port_));
}

TestMachine::~TestMachine() { vcpus_.clear(); }

x86::BootState TestMachine::LoadGuest() {
  x86::BootState boot;
  boot.entry = LoadElf(GuestPath(guest_), *memory_);
  boot.argument = x86::kPvhStartInfo;
  boot.stack = x86::kBootStack;
  WriteStartInfo(*memory_, cmdline_);
  return boot;
}

void TestMachine::Start() { StartWith(nullptr); }

void TestMachine::StartWith(Permit* permit) {
  for (auto& vcpu : prepared_) {
    auto thread = VcpuThread::Start(std::move(vcpu), {&ports_, &memory_bus_, this, permit});
    CHECK(thread.has_value());
    vcpus_.push_back(std::move(*thread));
  }
  prepared_.clear();
  ResumeAll();
}

void TestMachine::ResumeAll() {
  for (auto& vcpu : vcpus_) vcpu->Resume();
}

void TestMachine::PauseAll() {
  for (auto& vcpu : vcpus_) vcpu->RequestPause();
  for (auto& vcpu : vcpus_) vcpu->WaitPaused();
}

void TestMachine::Reset() {
  Must(memory_->Clear());
  LoadGuest();
  for (auto& vcpu : vcpus_) {
    Must(vcpu->RunPaused([](Vcpu& v) { return v.RestoreInitialState(); }));
  }
  Must(vm_->RestoreIrqchip(irqchip_));
  const MutexLock lock(mutex_);
  end_.reset();
  console_.clear();
}

TestMachine::End TestMachine::WaitForEnd() {
  const auto deadline = std::chrono::steady_clock::now() + kLimit;
  {
    const MutexLock lock(mutex_);
    while (!end_ && std::chrono::steady_clock::now() < deadline) {
      changed_.wait_until(mutex_, deadline);
    }
    if (end_) return *end_;
  }
  PauseAll();
  for (auto& vcpu : vcpus_) {
    static_cast<void>(vcpu->RunPaused([](Vcpu& v) -> Status {
      fprintf(stderr, "%s\n", v.DumpRegisters().c_str());
      return {};
    }));
  }
  fprintf(stderr, "console:\n%s\n", console().c_str());
  return End::kTimeout;
}

bool TestMachine::WaitForConsole(const std::string& text) {
  const auto deadline = std::chrono::steady_clock::now() + kLimit;
  const MutexLock lock(mutex_);
  while (console_.find(text) == std::string::npos) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    changed_.wait_until(mutex_, deadline);
  }
  return true;
}

void TestMachine::Finish(End end, std::uint32_t vcpu, std::string report) {
  const MutexLock lock(mutex_);
  if (end_) return;
  end_ = end;
  ended_by_ = vcpu;
  report_ = std::move(report);
  changed_.notify_all();
}

std::string TestMachine::console() {
  const MutexLock lock(mutex_);
  return console_;
}
std::uint32_t TestMachine::exit_code() {
  const MutexLock lock(mutex_);
  return exit_code_;
}
std::uint32_t TestMachine::ended_by() {
  const MutexLock lock(mutex_);
  return ended_by_;
}
std::string TestMachine::report() {
  const MutexLock lock(mutex_);
  return report_;
}

void TestMachine::OnTripleFault(std::uint32_t vcpu, std::string report) {
  Finish(End::kTripleFault, vcpu, std::move(report));
}
void TestMachine::OnFailure(std::uint32_t vcpu, std::string reason, std::string report) {
  Finish(End::kFailure, vcpu, reason + '\n' + report);
}
void TestMachine::OnSystemReset(std::uint32_t vcpu) { Finish(End::kReset, vcpu, {}); }
void TestMachine::OnSystemShutdown(std::uint32_t vcpu) { Finish(End::kShutdown, vcpu, {}); }

void TestMachine::Read(std::uint64_t, std::span<std::byte> data) { StoreRegister(data, 0x60); }

void TestMachine::Write(std::uint64_t offset, std::span<const std::byte> data) {
  if (offset != 0) return;
  const MutexLock lock(mutex_);
  console_ += static_cast<char>(data[0]);
  if (data[0] == std::byte{'\n'}) changed_.notify_all();
}

void TestMachine::ExitPort::Read(std::uint64_t, std::span<std::byte> data) {
  StoreRegister(data, 0);
}

void TestMachine::ExitPort::Write(std::uint64_t, std::span<const std::byte> data) {
  {
    const MutexLock lock(machine_->mutex_);
    machine_->exit_code_ = static_cast<std::uint32_t>(LoadRegister(data));
  }
  machine_->Finish(End::kExit, 0, {});
}

}  // namespace gemel::kvm
