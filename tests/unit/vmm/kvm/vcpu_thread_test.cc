#include "vmm/kvm/vcpu_thread.h"

#include <gtest/gtest.h>

#include <atomic>

#include "base/load_le.h"
#include "tests/fakes/fake_permit.h"
#include "tests/unit/vmm/kvm/test_machine.h"

namespace gemel::kvm {
namespace {

// Counts up with each read.
class Sequence : public IoHandler {
 public:
  std::string_view name() const override { return "sequence"; }
  void Read(std::uint64_t, std::span<std::byte> data) override {
    StoreRegister(data, next_.fetch_add(1));
  }
  void Write(std::uint64_t, std::span<const std::byte>) override {}
  std::uint32_t next() const { return next_.load(); }

 private:
  std::atomic<std::uint32_t> next_{1};
};

Status DoNothing(Vcpu&) { return {}; }

TEST(VcpuThread, NeverResumed_IsPausedAndStops) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "spin");
  machine.Start();
  machine.PauseAll();
  EXPECT_TRUE(machine.vcpu(0).RunPaused(DoNothing).has_value());
}

// A kick lost would hang here, and Meson's limit end it.
TEST(VcpuThread, SpinningGuest_PausesEveryTime) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "spin");
  machine.Start();
  ASSERT_TRUE(machine.WaitForConsole("begin"));
  for (int i = 0; i < 500; ++i) {
    machine.vcpu(0).Pause();
    machine.vcpu(0).Resume();
  }
  machine.vcpu(0).Pause();
  EXPECT_TRUE(machine.vcpu(0).RunPaused(DoNothing).has_value());
}

TEST(VcpuThread, HaltedGuest_Pauses) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "halt");
  machine.Start();
  ASSERT_TRUE(machine.WaitForConsole("begin"));
  for (int i = 0; i < 100; ++i) {
    machine.vcpu(0).Pause();
    machine.vcpu(0).Resume();
  }
}

TEST(VcpuThread, ProcessorsNeverStarted_Pause) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "halt", 8);
  machine.Start();
  for (int i = 0; i < 20; ++i) {
    machine.PauseAll();
    machine.ResumeAll();
  }
}

// Were a pause to leave a read half done, writing the registers back would lose it or do it twice.
TEST(VcpuThread, PausedBetweenReads_NoneIsHalfDone) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "sequence");
  Sequence sequence;
  ASSERT_TRUE(machine.ports().Map(0x1200, 4, &sequence).has_value());
  machine.Start();
  ASSERT_TRUE(machine.WaitForConsole("begin"));
  for (int i = 0; i < 200; ++i) {
    machine.vcpu(0).Pause();
    const Status status = machine.vcpu(0).RunPaused([](Vcpu& vcpu) -> Status {
      RETURN_IF_ERROR(vcpu.SaveInitialState());
      return vcpu.RestoreInitialState();
    });
    ASSERT_TRUE(status.has_value()) << status.error().message;
    const std::uint32_t before = sequence.next();
    machine.vcpu(0).Resume();
    while (sequence.next() < before + 3) std::this_thread::yield();
  }
  machine.PauseAll();
  EXPECT_EQ(machine.console(), "begin\n");
  EXPECT_GE(machine.vcpu(0).exit_counts()[static_cast<std::size_t>(Exit::kPortRead)], 600u);
}

TEST(VcpuThread, RunPausedWhileRunning_IsRefused) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "spin");
  machine.Start();
  ASSERT_TRUE(machine.WaitForConsole("begin"));
  const Status status = machine.vcpu(0).RunPaused(DoNothing);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, Code::kFailedPrecondition);
}

TEST(VcpuThread, RunPaused_RunsOnTheVcpusThreadAndReturnsItsResult) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "halt");
  machine.Start();
  machine.PauseAll();
  std::thread::id id;
  const Status status = machine.vcpu(0).RunPaused([&id](Vcpu&) -> Status {
    id = std::this_thread::get_id();
    return Internal("as told");
  });
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().message, "as told");
  EXPECT_NE(id, std::this_thread::get_id());
}

TEST(VcpuThread, Stopped_StaysStopped) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "spin");
  machine.Start();
  machine.vcpu(0).Stop();
  machine.vcpu(0).Stop();
  machine.vcpu(0).Resume();
  machine.vcpu(0).Pause();
  EXPECT_FALSE(machine.vcpu(0).RunPaused(DoNothing).has_value());
}

// ---- with a permit ------------------------------------------------------------------------------

constexpr std::int64_t kMs = 1'000'000;

// Nobody asks for the pause: a timer lost would hang here. The guest never leaves by itself.
void ExpectToPauseByItself(const char* words) {
  TestMachine machine("faults", words);
  testing::FakePermit permit;
  machine.StartWith(&permit);
  ASSERT_TRUE(machine.WaitForConsole("begin"));
  machine.PauseAll();
  for (int i = 0; i < 50; ++i) {
    permit.until_ns = BootNs() + 2 * kMs;
    permit.holds = true;
    machine.vcpu(0).Resume();
    while (permit.holds) std::this_thread::yield();
    machine.vcpu(0).WaitPaused();
    ASSERT_GE(BootNs(), permit.until_ns);
  }
  EXPECT_TRUE(machine.vcpu(0).RunPaused(DoNothing).has_value());
}

TEST(VcpuThread, SpinningGuestWhosePermitEnds_PausesByItself) {
  SKIP_WITHOUT_KVM();
  ExpectToPauseByItself("spin");
}

TEST(VcpuThread, HaltedGuestWhosePermitEnds_PausesByItself) {
  SKIP_WITHOUT_KVM();
  ExpectToPauseByItself("halt");
}

// A guest that does not leave by itself, whose permit is looked at again and again.
TEST(VcpuThread, PermitThatHoldsOn_IsAskedWhenItSaysAndTheGuestRunsOn) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "spin");
  testing::FakePermit permit;
  permit.ask_every_ns = kMs / 10;
  machine.StartWith(&permit);
  ASSERT_TRUE(machine.WaitForConsole("begin"));
  const int before = permit.asked;
  while (permit.asked < before + 100) std::this_thread::yield();
  EXPECT_FALSE(machine.vcpu(0).RunPaused(DoNothing).has_value());
}

TEST(VcpuThread, ResumedWithoutPermit_StaysPaused) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "sequence");
  Sequence sequence;
  testing::FakePermit permit;
  permit.holds = false;
  ASSERT_TRUE(machine.ports().Map(0x1200, 4, &sequence).has_value());
  machine.StartWith(&permit);
  while (permit.asked == 0) std::this_thread::yield();
  machine.vcpu(0).WaitPaused();
  EXPECT_EQ(machine.console(), "");
  EXPECT_EQ(sequence.next(), 1u);
}

// The guest checks that no read was left out, and none done twice.
TEST(VcpuThread, AccessWithoutPermit_IsServedOnceItIsRenewed) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "sequence");
  Sequence sequence;
  testing::FakePermit permit;
  ASSERT_TRUE(machine.ports().Map(0x1200, 4, &sequence).has_value());
  machine.StartWith(&permit);
  for (int i = 0; i < 100; ++i) {
    const std::uint32_t before = sequence.next();
    while (sequence.next() < before + 3) std::this_thread::yield();
    permit.holds = false;
    machine.vcpu(0).WaitPaused();
    const std::uint32_t at = sequence.next();
    machine.vcpu(0).Pause();
    EXPECT_EQ(sequence.next(), at);
    permit.holds = true;
    machine.vcpu(0).Resume();
  }
  machine.PauseAll();
  EXPECT_EQ(machine.console(), "begin\n");
}

// A read that KVM still wants to finish would change the registers that the reset has set.
TEST(VcpuThread, ResetWithAnAccessThatWasNotServed_BeginsAnew) {
  SKIP_WITHOUT_KVM();
  TestMachine machine("faults", "sequence");
  Sequence sequence;
  testing::FakePermit permit;
  ASSERT_TRUE(machine.ports().Map(0x1200, 4, &sequence).has_value());
  machine.StartWith(&permit);
  for (int i = 0; i < 20; ++i) {
    const std::uint32_t before = sequence.next();
    while (sequence.next() < before + 3) std::this_thread::yield();
    permit.holds = false;
    machine.vcpu(0).WaitPaused();
    machine.Reset();
    permit.holds = true;
    machine.ResumeAll();
    ASSERT_TRUE(machine.WaitForConsole("begin\n"));
  }
  machine.PauseAll();
  EXPECT_EQ(machine.console(), "begin\n");
}

}  // namespace
}  // namespace gemel::kvm
