// Bare-metal guests (tests/guests) on this host's KVM.
#include <gtest/gtest.h>

#include <map>

#include "base/event_fd.h"
#include "base/load_le.h"
#include "tests/unit/vmm/kvm/test_machine.h"

namespace gemel::kvm {
namespace {

using End = TestMachine::End;

// Writes down what is written, but counts runs of the same; answers reads with 0x8877665544332211.
class Recorder : public IoHandler {
 public:
  std::string_view name() const override { return "recorder"; }
  void Read(std::uint64_t, std::span<std::byte> data) override {
    ++reads[data.size()];
    StoreRegister(data, 0x8877665544332211);
  }
  void Write(std::uint64_t offset, std::span<const std::byte> data) override {
    const std::string line = fmt::format("{}@{:#x}={:x}", data.size(), offset, LoadRegister(data));
    if (offset == 1) {
      ++burst;
      return;
    }
    writes.push_back(line);
  }
  std::vector<std::string> writes;
  std::map<std::size_t, int> reads;
  int burst = 0;
};

// Raises the line whose number is written.
class LineAsker : public IoHandler {
 public:
  explicit LineAsker(Vm& vm) {
    for (const std::uint32_t gsi : {4u, 5u, 16u, 23u}) lines_[gsi] = vm.CreateInterrupt(gsi);
  }
  std::string_view name() const override { return "lines"; }
  void Read(std::uint64_t, std::span<std::byte> data) override { StoreRegister(data, 0); }
  void Write(std::uint64_t, std::span<const std::byte> data) override {
    const auto found = lines_.find(LoadRegister(data));
    if (found != lines_.end()) found->second->Trigger();
  }

 private:
  std::map<std::uint64_t, std::unique_ptr<Interrupt>> lines_;
};

// One message-signalled interrupt, worked by the guest as a device and a driver would.
class MessageAsker : public IoHandler {
 public:
  explicit MessageAsker(Vm& vm) {
    auto message = vm.CreateMsi();
    EXPECT_TRUE(message.has_value()) << message.error().message;
    if (message) message_ = std::move(*message);
  }
  std::string_view name() const override { return "messages"; }
  void Read(std::uint64_t, std::span<std::byte> data) override {
    StoreRegister(data, message_->pending() ? 1 : 0);
  }
  void Write(std::uint64_t, std::span<const std::byte> data) override {
    const std::uint64_t order = LoadRegister(data);
    if (order == 1) {
      EXPECT_TRUE(message_->SetMessage(0xfee00000, 0x40).has_value());
    } else if (order == 2) {
      message_->Withdraw();
    } else {
      message_->Trigger();
    }
  }

 private:
  std::unique_ptr<MsiInterrupt> message_;
};

class LevelAsker : public IoHandler {
 public:
  explicit LevelAsker(Vm& vm) : lines_(vm) {}
  std::string_view name() const override { return "level"; }
  void Read(std::uint64_t, std::span<std::byte> data) override { StoreRegister(data, 0); }
  void Write(std::uint64_t, std::span<const std::byte> data) override {
    lines_.SetLevel(18, LoadRegister(data) != 0);
  }

 private:
  IrqLines& lines_;
};

void ExpectNoFailure(const std::string& console) {
  EXPECT_EQ(console.find("FAIL"), std::string::npos) << console;
}

TEST(Guest, Started_SaysHelloAndExits) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("hello", "one two=3");
  machine.Start();
  EXPECT_EQ(machine.WaitForEnd(), End::kExit);
  EXPECT_EQ(machine.console(), "hello from a bare-metal guest: one two=3\n");
  EXPECT_EQ(machine.exit_code(), 42u);
}

TEST(Guest, AccessesOfEveryWidth_ReachDevicesOnce) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("exits", "");
  Recorder ports, mmio;
  ASSERT_TRUE(machine.ports().Map(0x1000, 8, &ports).has_value());
  ASSERT_TRUE(machine.memory_bus().Map(0xd0000000, 0x1000, &mmio).has_value());
  Recorder second_page;
  ASSERT_TRUE(machine.memory_bus().Map(0xd0001000, 0x1000, &second_page).has_value());
  const auto doorbell = EventFd::Create();
  ASSERT_TRUE(doorbell.has_value());
  ASSERT_TRUE(machine.vm().Add(0xd0001050, 7, doorbell->get()).has_value());
  machine.Start();
  EXPECT_EQ(machine.WaitForEnd(), End::kExit);
  ExpectNoFailure(machine.console());
  EXPECT_EQ(ports.writes,
            (std::vector<std::string>{"1@0x0=11", "2@0x2=2222", "4@0x4=44444444", "1@0x0=61",
                                      "1@0x0=62", "1@0x0=63", "1@0x0=64", "1@0x0=65"}));
  EXPECT_EQ(ports.burst, 5000);
  EXPECT_EQ(ports.reads[2], 5001);
  EXPECT_EQ(mmio.writes, (std::vector<std::string>{"1@0x0=11", "2@0x2=2222", "4@0x4=44444444",
                                                   "8@0x8=8888888877777777", "3@0xffd=332211"}));
  EXPECT_EQ(second_page.writes, (std::vector<std::string>{"5@0x0=8877665544", "4@0x50=8"}));
  EXPECT_TRUE(doorbell->Drain());
  EXPECT_TRUE(machine.vm().Remove(0xd0001050, 7, doorbell->get()).has_value());
  EXPECT_FALSE(machine.vm().Remove(0xd0001050, 7, doorbell->get()).has_value());
}

TEST(Guest, InterruptsOfEverySource_Arrive) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("interrupts", "lines");
  LineAsker lines(machine.vm());
  MessageAsker messages(machine.vm());
  LevelAsker level(machine.vm());
  ASSERT_TRUE(machine.ports().Map(0x1100, 1, &lines).has_value());
  ASSERT_TRUE(machine.ports().Map(0x1101, 1, &messages).has_value());
  ASSERT_TRUE(machine.ports().Map(0x1102, 1, &level).has_value());
  machine.Start();
  EXPECT_EQ(machine.WaitForEnd(), End::kExit);
  ExpectNoFailure(machine.console());
  EXPECT_NE(machine.console().find("ok: TSC-deadline timer\n"), std::string::npos);
  machine.PauseAll();  // before the lines go
}

class Smp : public testing::TestWithParam<std::uint32_t> {};

TEST_P(Smp, AllProcessors_StartAndAnswer) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("smp", fmt::format("cpus={}", GetParam()), GetParam());
  machine.Start();
  EXPECT_EQ(machine.WaitForEnd(), End::kExit);
  ExpectNoFailure(machine.console());
  EXPECT_NE(machine.console().find(fmt::format("processors: {}\n", GetParam())), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Guest, Smp, testing::Values(1, 2, 3, 8, 64));

TEST(Guest, ManyMessages_AreMadeAndFreed) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "halt");
  const std::size_t limit = OpenKvm()->capabilities().irq_routes;
  std::vector<std::unique_ptr<MsiInterrupt>> messages;
  Result<std::unique_ptr<MsiInterrupt>> last = machine.vm().CreateMsi();
  while (last && messages.size() < 200) {
    ASSERT_TRUE((*last)->SetMessage(0xfee00000, 0x40).has_value());
    messages.push_back(std::move(*last));
    last = machine.vm().CreateMsi();
  }
  EXPECT_LE(messages.size(), limit);
  EXPECT_EQ(messages.size(), 200u);
  messages.clear();
  EXPECT_TRUE(machine.vm().CreateMsi().has_value());
}

TEST(Guest, MachineReset_StartsOver) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("smp", "cpus=4", 4);
  machine.Start();
  ASSERT_EQ(machine.WaitForEnd(), End::kExit);
  const std::string first = machine.console();
  machine.PauseAll();
  machine.Reset();
  machine.ResumeAll();
  EXPECT_EQ(machine.WaitForEnd(), End::kExit);
  EXPECT_EQ(machine.console(), first);
}

TEST(Guest, ResetAfterTripleFault_StartsOver) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "triple");
  machine.Start();
  ASSERT_EQ(machine.WaitForEnd(), End::kTripleFault);
  machine.PauseAll();
  machine.Reset();
  machine.ResumeAll();
  EXPECT_EQ(machine.WaitForEnd(), End::kTripleFault);
  EXPECT_EQ(machine.console(), "begin\n");
}

TEST(Guest, TripleFault_IsReportedWithRegistersAndCode) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "triple");
  machine.Start();
  ASSERT_EQ(machine.WaitForEnd(), End::kTripleFault);
  EXPECT_EQ(machine.ended_by(), 0u);
  EXPECT_NE(machine.report().find("vCPU 0:\n"), std::string::npos);
  EXPECT_NE(machine.report().find("cr3 "), std::string::npos);
  // Where the host keeps the state of the fault: UD2 at RIP.
  const std::string report = machine.report();
  EXPECT_NE(report.find(report.find("as after INIT") == std::string::npos ? "<0f> 0b" : "code"),
            std::string::npos)
      << report;
}

TEST(Guest, TripleFaultOfAnotherProcessor_NamesIt) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "triple-ap", 2);
  machine.Start();
  EXPECT_EQ(machine.WaitForEnd(), End::kTripleFault);
  EXPECT_EQ(machine.ended_by(), 1u);
}

TEST(Guest, CodeWhereNoMemoryIs_IsAFailureWithReason) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "nothing");
  machine.Start();
  EXPECT_EQ(machine.WaitForEnd(), End::kFailure);
  EXPECT_TRUE(machine.report().starts_with("KVM internal error 1: ")) << machine.report();
  EXPECT_NE(machine.report().find("rip 00000000d8000000"), std::string::npos) << machine.report();
}

TEST(Guest, ExceptionWithHandler_DoesNotEndTheMachine) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "exception");
  machine.Start();
  EXPECT_EQ(machine.WaitForEnd(), End::kExit);
  EXPECT_NE(machine.console().find("FAIL: exception 6 error 0 at 0x"), std::string::npos);
}

}  // namespace
}  // namespace gemel::kvm
