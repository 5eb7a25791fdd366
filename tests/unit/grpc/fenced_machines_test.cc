#include "grpc/fenced_machines.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_vm_supervisor.h"

namespace gemel::daemon {
namespace {

using cluster::Process;
using State = Process::State;

constexpr ClusterVm kFenced = 7;
const VmUid kUid = "0000-7";

bool operator==(const Process& a, const Process& b) {
  return a.state == b.state && a.session == b.session && a.epoch == b.epoch;
}

struct FencedMachinesTest : ::testing::Test {
  FencedMachinesTest()
      : loop(EventLoop::Create().value()),
        supervisor(loop.get(), [this](const VmUid& uid,
                                      const VmEvent& event) { machines.OnVmEvent(uid, event); }),
        machines({loop.get(), &supervisor,
                  [this](ClusterVm, FencedMachines::Prepared done) {
                    preparing.push_back(std::move(done));
                    if (!slow) Ready();
                  },
                  [this](ClusterVm, const Process& process) { told.push_back(process); },
                  [this](ClusterVm, const Error& error) { failures.push_back(error.message); }}) {
    machines.Add(kFenced, kUid);
  }
  static ClusterMachines::Grant GrantOf(std::uint64_t number) {
    return {UniqueFd(), {1, number}, {1, number}};
  }
  void Settle() {
    for (int i = 0; i < 5; ++i) loop->RunOnce(0);
  }
  // What is to be started is prepared: that of the first start that still waits.
  void Ready() {
    const FencedMachines::Prepared done = preparing.at(0);
    preparing.erase(preparing.begin());
    if (!prepared) return done(std::unexpected(prepared.error()));
    VmStart start;
    start.uid = kUid;
    done(std::move(start));
  }
  bool Runs() const {
    const auto found = supervisor.vms().find(kUid);
    return found != supervisor.vms().end() && !found->second.exit;
  }
  std::unique_ptr<EventLoop> loop;
  testing::FakeVmSupervisor supervisor;
  Status prepared;
  bool slow = false;  // a start waits for Ready()
  std::vector<FencedMachines::Prepared> preparing;
  std::vector<Process> told;
  std::vector<std::string> failures;
  FencedMachines machines;
};

TEST_F(FencedMachinesTest, Started_HasItsFenceAndIsNoNews) {
  machines.Start(kFenced, GrantOf(1));
  Settle();
  ASSERT_TRUE(supervisor.vms().at(kUid).fence);
  EXPECT_EQ(supervisor.vms().at(kUid).fence->epoch, (cluster::Epoch{1, 1}));
  EXPECT_TRUE(told.empty());
}

TEST_F(FencedMachinesTest, StartFails_NothingIsLeft) {
  supervisor.FailNext({Code::kNotFound, "no kernel"});
  machines.Start(kFenced, GrantOf(1));
  while (told.empty()) loop->RunOnce(-1);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_TRUE(told[0] == Process{});
  EXPECT_EQ(failures, (std::vector<std::string>{"no kernel"}));
}

TEST_F(FencedMachinesTest, CannotBePrepared_IsToldLater) {
  prepared = InvalidArgument("no such machine");
  machines.Start(kFenced, GrantOf(1));
  EXPECT_TRUE(told.empty());
  while (told.empty()) loop->RunOnce(-1);
  EXPECT_EQ(told[0].state, State::kNone);
}

// ---- what ends a start that is under way

TEST_F(FencedMachinesTest, Prepared_StartsThen) {
  slow = true;
  machines.Start(kFenced, GrantOf(1));
  Settle();
  EXPECT_TRUE(supervisor.calls().empty());
  Ready();
  Settle();
  EXPECT_TRUE(Runs());
  EXPECT_TRUE(told.empty());
}

TEST_F(FencedMachinesTest, KilledWhileItIsPrepared_NeverStarts) {
  slow = true;
  machines.Start(kFenced, GrantOf(1));
  machines.Kill(kFenced);
  EXPECT_TRUE(told.empty());  // not from within the call
  Settle();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_TRUE(told[0] == Process{});
  Ready();
  Settle();
  EXPECT_FALSE(supervisor.vms().contains(kUid));
  EXPECT_EQ(told.size(), 1U);
  EXPECT_TRUE(failures.empty());
}

TEST_F(FencedMachinesTest, StoppedWhileItIsPrepared_NeverStarts) {
  slow = true;
  machines.Start(kFenced, GrantOf(1));
  machines.Stop(kFenced);
  Settle();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_TRUE(told[0] == Process{});
  Ready();
  Settle();
  EXPECT_FALSE(supervisor.vms().contains(kUid));
}

// Each start goes on with what was prepared for it alone.
TEST_F(FencedMachinesTest, StartedAnewBeforeTheFirstWasPrepared_OnlyTheLaterStarts) {
  slow = true;
  machines.Start(kFenced, GrantOf(1));
  machines.Kill(kFenced);
  Settle();
  machines.Start(kFenced, GrantOf(2));
  Ready();
  Settle();
  EXPECT_FALSE(supervisor.vms().contains(kUid));
  Ready();
  Settle();
  ASSERT_TRUE(Runs());
  EXPECT_EQ(supervisor.vms().at(kUid).fence->epoch, (cluster::Epoch{1, 2}));
  EXPECT_EQ(told.size(), 1U);
}

TEST_F(FencedMachinesTest, KilledAfterItCouldNotBePrepared_IsToldOnce) {
  prepared = InvalidArgument("no such network");
  machines.Start(kFenced, GrantOf(1));
  machines.Kill(kFenced);
  Settle();
  EXPECT_EQ(told.size(), 1U);
  EXPECT_TRUE(failures.empty());
  prepared = {};
  machines.Start(kFenced, GrantOf(2));
  Settle();
  EXPECT_TRUE(Runs());
  EXPECT_EQ(told.size(), 1U);
}

TEST_F(FencedMachinesTest, KilledWhileItsProcessBegins_EndsAndIsToldThen) {
  supervisor.HoldAnswers(true);
  machines.Start(kFenced, GrantOf(1));
  Settle();
  machines.Kill(kFenced);
  Settle();
  supervisor.HoldAnswers(false);
  supervisor.ReleaseAnswers();
  Settle();
  EXPECT_FALSE(Runs());
  ASSERT_EQ(told.size(), 1U);
  EXPECT_TRUE(told[0] == Process{});
}

TEST_F(FencedMachinesTest, KilledWhileItsStartFails_IsToldWithoutDelayOrFailure) {
  supervisor.HoldAnswers(true);
  supervisor.FailNext({Code::kCancelled, "it was ended before its guest ran"});
  machines.Start(kFenced, GrantOf(1));
  Settle();
  machines.Kill(kFenced);
  EXPECT_TRUE(told.empty());
  supervisor.ReleaseAnswers();
  Settle();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_TRUE(told[0] == Process{});
  EXPECT_TRUE(failures.empty());
}

TEST_F(FencedMachinesTest, StoppedWhileItsProcessBegins_IsStoppedOnceItRuns) {
  supervisor.HoldAnswers(true);
  machines.Start(kFenced, GrantOf(1));
  Settle();
  machines.Stop(kFenced);
  supervisor.HoldAnswers(false);
  supervisor.ReleaseAnswers();
  Settle();
  EXPECT_EQ(supervisor.calls().back(), "PowerButton " + kUid);
}

// ---- its latch

TEST_F(FencedMachinesTest, Latched_ThenResumed) {
  machines.Start(kFenced, GrantOf(1));
  Settle();
  supervisor.Latch(kUid);
  Settle();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_TRUE(told[0] == (Process{State::kLatched, {1, 1}, {1, 1}}));
  machines.Resume(kFenced, GrantOf(2));
  Settle();
  EXPECT_EQ(told.size(), 1U);
  EXPECT_EQ(supervisor.vms().at(kUid).fence->epoch, (cluster::Epoch{1, 2}));
}

TEST_F(FencedMachinesTest, ResumeRefused_IsWhatTheProcessSays) {
  machines.Start(kFenced, GrantOf(2));
  Settle();
  supervisor.Latch(kUid);
  Settle();
  machines.Resume(kFenced, GrantOf(1));  // no later one
  Settle();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_TRUE(told[1] == (Process{State::kLatched, {1, 2}, {1, 2}}));
  EXPECT_EQ(failures.size(), 1U);
}

TEST_F(FencedMachinesTest, RefusedByItsDisk_IsConflicted) {
  machines.Start(kFenced, GrantOf(1));
  Settle();
  supervisor.Latch(kUid, true);
  Settle();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].state, State::kConflicted);
}

// Only under another epoch may it be tried again.
TEST_F(FencedMachinesTest, StartRefusedByStorage_IsConflicted) {
  supervisor.FailNext({Code::kAborted, "reservation conflict"});
  machines.Start(kFenced, GrantOf(1));
  while (told.empty()) loop->RunOnce(-1);
  EXPECT_TRUE(told[0] == (Process{State::kConflicted, {1, 1}, {1, 1}}));
  machines.Kill(kFenced);
  while (told.size() < 2) loop->RunOnce(-1);
  EXPECT_TRUE(told[1] == Process{});
}

TEST_F(FencedMachinesTest, Killed_CanBeStartedAgain) {
  machines.Start(kFenced, GrantOf(1));
  Settle();
  machines.Kill(kFenced);
  Settle();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].state, State::kNone);
  machines.Start(kFenced, GrantOf(2));
  Settle();
  EXPECT_TRUE(failures.empty());
}

TEST_F(FencedMachinesTest, KillOfWhatIsGone_SaysSo) {
  machines.Kill(kFenced);
  EXPECT_TRUE(told.empty());
  Settle();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].state, State::kNone);
}

TEST_F(FencedMachinesTest, Adopted_IsWhatItsFenceSays) {
  AdoptedVm live{kUid, AdoptedVm::State::kLive, {}, {}};
  live.info.state = gemel::VmState::kRunning;
  live.info.fence = FenceState{{1, 3}, {1, 4}, true, false, 0};
  EXPECT_TRUE(machines.Adopted(live) == (Process{State::kLatched, {1, 3}, {1, 4}}));
  EXPECT_TRUE(machines.Adopted({kUid, AdoptedVm::State::kEnded, {}, {}}) == Process{});
  EXPECT_TRUE(machines.Adopted({kUid, AdoptedVm::State::kNothing, {}, {}}) == Process{});
}

TEST_F(FencedMachinesTest, AdoptedWithoutAFence_IsTakenToRun) {
  AdoptedVm live{kUid, AdoptedVm::State::kLive, {}, {}};
  live.info.state = gemel::VmState::kRunning;
  EXPECT_TRUE(machines.Adopted(live) == (Process{State::kRunning, {}, {}}));
}

TEST_F(FencedMachinesTest, AdoptedInTheMiddleOfItsStart_IsEnded) {
  machines.Start(kFenced, GrantOf(1));
  Settle();
  AdoptedVm live{kUid, AdoptedVm::State::kLive, {}, {}};
  live.info.state = gemel::VmState::kConfigured;
  EXPECT_EQ(machines.Adopted(live).state, State::kRunning);
  Settle();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].state, State::kNone);
}

TEST_F(FencedMachinesTest, EventOfAnotherMachine_IsNotOurs) {
  EXPECT_FALSE(machines.OnVmEvent("another", VmWasReset{}));
}

}  // namespace
}  // namespace gemel::daemon
