// What the API's calls make of machines, and what becomes of them whatever happens to the daemon.
#include "tests/unit/grpc/manager_fixture.h"

namespace gemel::daemon {
namespace {

TEST_F(VmManagerTest, CreateStopped_IsDoneAtOnceAndStartsNothing) {
  const auto operation = Create("web", false);
  ASSERT_TRUE(operation.has_value());
  EXPECT_TRUE(operation->done());
  EXPECT_EQ(State(), "STOPPED");
  EXPECT_EQ(CountCalls("Start"), 0);
  EXPECT_EQ(Vm().spec().cpu().count(), 1u);
  EXPECT_FALSE(Vm().etag().empty());
}

TEST_F(VmManagerTest, CreateRunning_IsDoneWhenItRuns) {
  const auto operation = Create("web", true);
  ASSERT_TRUE(operation.has_value());
  EXPECT_TRUE(operation->done());
  EXPECT_FALSE(operation->has_error());
  EXPECT_EQ(State(), "RUNNING");
  EXPECT_EQ(CountCalls("Start"), 1);
}

TEST_F(VmManagerTest, Start_IntentIsStoredBeforeTheProcess) {
  store_.error = Error{Code::kResourceExhausted, "disk full"};
  const auto operation = Create("web", true);
  ASSERT_FALSE(operation.has_value());
  EXPECT_EQ(operation.error().code(), static_cast<int>(Code::kResourceExhausted));
  EXPECT_EQ(ReasonOf(operation.error()), "STORE_FAILED");
  EXPECT_EQ(CountCalls("Start"), 0);
  EXPECT_TRUE(Vm().name().empty());
}

TEST_F(VmManagerTest, CreateThatCannotStart_LeavesNothing) {
  supervisor_.FailNext({Code::kNotFound, "disk: /x: No such file"});
  const auto operation = Create("web", true);
  ASSERT_TRUE(operation.has_value());
  EXPECT_TRUE(operation->has_error());
  EXPECT_EQ(operation->error().message(), "disk: /x: No such file");
  EXPECT_TRUE(Vm().name().empty());
  EXPECT_TRUE(store_.contents.vms.empty());
}

TEST_F(VmManagerTest, MissingKernel_NamesFieldAndPath) {
  auto request = CreateRequest("web", true);
  request.mutable_virtual_machine()->mutable_spec()->mutable_boot()->set_kernel(folder_ + "/none");
  manager_->Create(Call("Create"), request, Keep());
  const auto operation = Outcome();
  ASSERT_TRUE(operation.has_value());
  EXPECT_EQ(ReasonOf(operation->error()), "IMAGE_MISSING");
  EXPECT_NE(operation->error().message().find("/none"), std::string::npos);
  EXPECT_TRUE(Vm().name().empty());
}

TEST_F(VmManagerTest, KernelBehindALinkOutOfItsFolder_IsRefused) {
  std::filesystem::create_symlink("/etc/passwd", folder_ + "/link");
  auto request = CreateRequest("web", true);
  request.mutable_virtual_machine()->mutable_spec()->mutable_boot()->set_kernel(folder_ + "/link");
  manager_->Create(Call("Create"), request, Keep());
  EXPECT_TRUE(Outcome()->has_error());
  EXPECT_EQ(CountCalls("Start"), 0);
}

TEST_F(VmManagerTest, SameRequestIdTwice_ChangesNothingAndGivesTheFirstOperation) {
  manager_->Create(Call("Create", "id-1"), CreateRequest("web", false), Keep());
  const auto first = Outcome();
  const int commits = store_.commits;
  manager_->Create(Call("Create", "id-1"), CreateRequest("web", false), Keep());
  const auto second = Outcome();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(first->name(), second->name());
  EXPECT_EQ(store_.commits, commits);
}

TEST_F(VmManagerTest, SameRequestIdAfterARestart_IsStillKnown) {
  manager_->Create(Call("Create", "id-1"), CreateRequest("web", false), Keep());
  const auto first = Outcome();
  Restart();
  manager_->Create(Call("Create", "id-1"), CreateRequest("web", false), Keep());
  EXPECT_EQ(Outcome()->name(), first->name());
}

TEST_F(VmManagerTest, SameRequestIdForAnotherRequest_IsRefused) {
  manager_->Create(Call("Create", "id-1"), CreateRequest("web", false), Keep());
  Drain();
  CallInfo other = Call("Create", "id-1");
  other.fingerprint = "other";
  manager_->Create(other, CreateRequest("db", false), Keep());
  const auto refused = Outcome();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(ReasonOf(refused.error()), "REQUEST_ID_REUSED");
}

TEST_F(VmManagerTest, NameTaken_IsAlreadyExists) {
  Create("web", false);
  const auto refused = Create("web", false);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), static_cast<int>(Code::kAlreadyExists));
}

TEST_F(VmManagerTest, ValidateOnly_ChecksAndChangesNothing) {
  CallInfo call = Call("Create");
  call.validate_only = true;
  manager_->Create(call, CreateRequest("web", true), Keep());
  const auto operation = Outcome();
  ASSERT_TRUE(operation.has_value());
  EXPECT_TRUE(operation->done());
  EXPECT_TRUE(operation->name().empty());
  EXPECT_TRUE(store_.contents.vms.empty());
  EXPECT_EQ(store_.commits, 0);
}

TEST_F(VmManagerTest, BadField_IsNamedWithItsValue) {
  auto request = CreateRequest("web", false);
  request.mutable_virtual_machine()->mutable_spec()->mutable_cpu()->set_count(65);
  manager_->Create(Call("Create"), request, Keep());
  const auto refused = Outcome();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), static_cast<int>(Code::kInvalidArgument));
  EXPECT_NE(refused.error().message().find("virtual_machine.spec.cpu.count: 65"), std::string::npos)
      << refused.error().message();
}

TEST_F(VmManagerTest, MoreMemoryThanTheNodeHas_NamesTheShortage) {
  auto request = CreateRequest("web", true);
  request.mutable_virtual_machine()->mutable_spec()->mutable_memory()->set_size_bytes(8ull << 30);
  manager_->Create(Call("Create"), request, Keep());
  const auto refused = Outcome();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(ReasonOf(refused.error()), "NODE_MEMORY_SHORT");
}

// 4 GiB would do for four guests of 1 GiB, and not for the processes around them.
TEST_F(VmManagerTest, OverheadOfProcesses_CountsAgainstTheNodesMemory) {
  const auto create = [&](const std::string& id) {
    auto request = CreateRequest(id, true);
    request.mutable_virtual_machine()->mutable_spec()->mutable_memory()->set_size_bytes(1ull << 30);
    manager_->Create(Call("Create"), request, Keep());
    return Outcome();
  };
  for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(create(id).has_value());
  const auto refused = create("d");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(ReasonOf(refused.error()), "NODE_MEMORY_SHORT");
  EXPECT_NE(refused.error().message().find("1024 MiB and 25 MiB around them"), std::string::npos)
      << refused.error().message();
}

TEST_F(VmManagerTest, MemoryLimit_IsWhatWasAskedForOrWhatIsNeeded) {
  auto request = CreateRequest("web", true);
  auto& memory = *request.mutable_virtual_machine()->mutable_spec()->mutable_memory();
  memory.set_size_bytes(64 << 20);
  manager_->Create(Call("Create"), request, Keep());
  ASSERT_TRUE(Outcome().has_value());
  EXPECT_GT(supervisor_.vms()[Vm().uid()].limits.memory, 72u << 20);
  EXPECT_LT(supervisor_.vms()[Vm().uid()].limits.memory, 96u << 20);
  memory.set_limit_bytes(512 << 20);
  request.set_vm_id("more");
  manager_->Create(Call("Create"), request, Keep());
  ASSERT_TRUE(Outcome().has_value());
  EXPECT_EQ(supervisor_.vms()[Vm("projects/p/vms/more").uid()].limits.memory, 512u << 20);
  memory.set_limit_bytes(65 << 20);
  request.set_vm_id("less");
  manager_->Create(Call("Create"), request, Keep());
  const auto refused = Outcome();
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("spec.memory.limit_bytes"), std::string::npos);
}

TEST_F(VmManagerTest, OldEtag_IsRefused) {
  Create("web", false);
  v1::StartVirtualMachineRequest request;
  request.set_name(kWeb);
  request.set_etag("1-old");
  manager_->Start(Call("Start"), request, Keep());
  const auto refused = Outcome();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(ReasonOf(refused.error()), "ETAG_MISMATCH");
}

TEST_F(VmManagerTest, StopThenStart_GoThroughTheSupervisor) {
  Create("web", true);
  EXPECT_TRUE(Do("Stop", &VmManager::Stop)->done());
  EXPECT_EQ(State(), "STOPPED");
  EXPECT_EQ(Vm().status().last_exit().reason(), v1::EXIT_REASON_STOPPED);
  EXPECT_EQ(CountCalls("Release"), 1);
  EXPECT_TRUE(Do("Start", &VmManager::Start)->done());
  EXPECT_EQ(State(), "RUNNING");
}

TEST_F(VmManagerTest, PauseAndResume_ChangeState) {
  Create("web", true);
  EXPECT_TRUE(Do("Pause", &VmManager::Pause)->done());
  EXPECT_EQ(State(), "PAUSED");
  EXPECT_FALSE(Do("Start", &VmManager::Start).has_value());
  EXPECT_TRUE(Do("Resume", &VmManager::Resume)->done());
  EXPECT_EQ(State(), "RUNNING");
}

TEST_F(VmManagerTest, PauseThatFails_EndsWithItsErrorAndTheMachineRuns) {
  Create("web", true);
  supervisor_.FailNext({Code::kDeadlineExceeded, "no answer"});
  EXPECT_TRUE(Do("Pause", &VmManager::Pause)->has_error());
  EXPECT_EQ(State(), "RUNNING");
  EXPECT_EQ(Vm().desired_state(), v1::DESIRED_STATE_RUNNING);
}

TEST_F(VmManagerTest, Reset_IsDoneAndAnEvent) {
  Create("web", true);
  EXPECT_TRUE(Do("Reset", &VmManager::Reset)->done());
  EXPECT_TRUE(HasEvent(v1::EVENT_TYPE_RESET));
}

TEST_F(VmManagerTest, WrongState_IsFailedPrecondition) {
  Create("web", false);
  for (const auto& refused : {Do("Stop", &VmManager::Stop), Do("Pause", &VmManager::Pause),
                              Do("Resume", &VmManager::Resume), Do("Reset", &VmManager::Reset),
                              Do("Shutdown", &VmManager::Shutdown)}) {
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), static_cast<int>(Code::kFailedPrecondition));
  }
}

TEST_F(VmManagerTest, ShutdownObeyed_IsDoneWhenTheGuestIsOff) {
  Create("web", true);
  EXPECT_FALSE(Do("Shutdown", &VmManager::Shutdown)->done());
  EXPECT_EQ(CountCalls("PowerButton"), 1);
  EXPECT_TRUE(HasEvent(v1::EVENT_TYPE_SHUTDOWN_REQUESTED));
  supervisor_.End(Vm().uid(), {VmExitCause::kGuestPoweredOff, 0, 0, "powered off", 1});
  const auto operation = Outcome();
  EXPECT_TRUE(operation->done());
  EXPECT_FALSE(operation->has_error());
  EXPECT_EQ(State(), "STOPPED");
  EXPECT_EQ(Vm().desired_state(), v1::DESIRED_STATE_STOPPED);
}

TEST_F(VmManagerTest, ShutdownNotObeyed_TimesOutAndTheMachineRunsOn) {
  Create("web", true);
  Do("Shutdown", &VmManager::Shutdown);
  Pass(91'000);
  EXPECT_EQ(ReasonOf(Outcome()->error()), "TIMEOUT");
  EXPECT_EQ(State(), "RUNNING");
}

TEST_F(VmManagerTest, ShutdownWithForce_PullsThePlugThen) {
  Create("web", true);
  v1::ShutdownVirtualMachineRequest request;
  request.set_name(kWeb);
  request.set_force(true);
  request.mutable_timeout()->set_seconds(5);
  manager_->Shutdown(Call("Shutdown"), request, Keep());
  Drain();
  Pass(6'000);
  EXPECT_TRUE(Outcome()->done());
  EXPECT_EQ(State(), "STOPPED");
}

TEST_F(VmManagerTest, HostThatGoesDown_AsksGuestsAndRunsThemAgain) {
  Create("web", true);
  bool down = false;
  manager_->StopWithHost([&] { down = true; });
  Drain();
  EXPECT_EQ(CountCalls("PowerButton"), 1);
  EXPECT_FALSE(down);
  supervisor_.End(Vm().uid(), {VmExitCause::kGuestPoweredOff, 0, 0, "powered off", 1});
  Drain();
  EXPECT_TRUE(down);
  EXPECT_EQ(State(), "STOPPED");
  EXPECT_EQ(Vm().desired_state(), v1::DESIRED_STATE_RUNNING);
  Restart();
  EXPECT_EQ(State(), "RUNNING");
}

TEST_F(VmManagerTest, GuestThatIgnoresTheHostsEnd_HoldsItUpForItsTimeoutAlone) {
  Create("web", true);
  bool down = false;
  manager_->StopWithHost([&] { down = true; });
  Pass(89'000);
  EXPECT_FALSE(down);
  Pass(2'000);
  EXPECT_TRUE(down);
  EXPECT_EQ(State(), "RUNNING");
}

TEST_F(VmManagerTest, HostThatGoesDownWithoutMachines_IsNotHeldUp) {
  Create("web", false);
  bool down = false;
  manager_->StopWithHost([&] { down = true; });
  EXPECT_TRUE(down);
}

TEST_F(VmManagerTest, ShutdownAskedBeforeTheHostsEnd_StaysOff) {
  Create("web", true);
  Do("Shutdown", &VmManager::Shutdown);
  manager_->StopWithHost([] {});
  supervisor_.End(Vm().uid(), {VmExitCause::kGuestPoweredOff, 0, 0, "powered off", 1});
  Drain();
  EXPECT_EQ(CountCalls("PowerButton"), 1);
  EXPECT_EQ(Vm().desired_state(), v1::DESIRED_STATE_STOPPED);
}

TEST_F(VmManagerTest, OperationThatGoesOn_EndsWithAnEvent) {
  Create("web", false);
  EXPECT_FALSE(HasEvent(v1::EVENT_TYPE_OPERATION_DONE));  // done when it was answered
  Do("Start", &VmManager::Start);
  EXPECT_TRUE(HasEvent(v1::EVENT_TYPE_OPERATION_DONE));
}

TEST_F(VmManagerTest, NodesHealth_IsAnEvent) {
  v1::HealthCondition condition;
  condition.set_condition("pool/default");
  condition.set_health(v1::NODE_HEALTH_DEGRADED);
  EXPECT_TRUE(manager_->TellNode(condition).has_value());
  const auto& event = *published_->events->Kept(0).back().second;
  EXPECT_EQ(event.type(), v1::EVENT_TYPE_NODE_CHANGED);
  EXPECT_EQ(event.resource(), "nodes/n");
  EXPECT_EQ(event.reason(), "CONDITION_DEGRADED");
}

TEST_F(VmManagerTest, CancelledShutdown_LeavesTheMachineRunning) {
  Create("web", true);
  const auto operation = Do("Shutdown", &VmManager::Shutdown);
  manager_->CancelOperation(Call("Cancel"), operation->name(), Keep());
  EXPECT_EQ(Outcome()->error().code(), static_cast<int>(Code::kCancelled));
  Pass(91'000);
  EXPECT_EQ(State(), "RUNNING");
}

TEST_F(VmManagerTest, DeleteOfARunningMachine_NeedsForce) {
  Create("web", true);
  EXPECT_FALSE(Do("Delete", &VmManager::Delete).has_value());
  v1::DeleteVirtualMachineRequest request;
  request.set_name(kWeb);
  request.set_force(true);
  manager_->Delete(Call("Delete"), request, Keep());
  EXPECT_TRUE(Outcome()->done());
  EXPECT_TRUE(Vm().name().empty());
  EXPECT_TRUE(supervisor_.vms().empty());
}

TEST_F(VmManagerTest, UpdateOfARunningMachine_WaitsForItsNextStart) {
  Create("web", true);
  v1::UpdateVirtualMachineRequest request;
  request.mutable_virtual_machine()->set_name(kWeb);
  request.mutable_virtual_machine()->mutable_spec()->mutable_cpu()->set_count(2);
  request.mutable_virtual_machine()->mutable_spec()->mutable_cpu()->set_weight(300);
  request.mutable_update_mask()->add_paths("spec.cpu.count");
  request.mutable_update_mask()->add_paths("spec.cpu.weight");
  const std::string etag = Vm().etag();
  manager_->Update(Call("Update"), request, Keep());
  EXPECT_TRUE(Outcome()->done());
  EXPECT_NE(Vm().etag(), etag);
  ASSERT_EQ(Vm().status().pending_changes_size(), 1);
  EXPECT_EQ(Vm().status().pending_changes(0), "cpu.count");
  EXPECT_EQ(supervisor_.vms().at(Vm().uid()).limits.cpu_weight, 300u);
  Do("Stop", &VmManager::Stop);
  Do("Start", &VmManager::Start);
  EXPECT_EQ(Vm().status().pending_changes_size(), 0);
  EXPECT_EQ(supervisor_.vms().at(Vm().uid()).config.cpus, 2u);
}

TEST_F(VmManagerTest, UpdateOfAnOutputField_IsRefused) {
  Create("web", false);
  v1::UpdateVirtualMachineRequest request;
  request.mutable_virtual_machine()->set_name(kWeb);
  request.mutable_update_mask()->add_paths("status.state");
  manager_->Update(Call("Update"), request, Keep());
  EXPECT_EQ(ReasonOf(Outcome().error()), "IMMUTABLE_FIELD");
}

TEST_F(VmManagerTest, GuestThatSwitchesItselfOff_IsStoppedAndStaysSo) {
  Create("web", true);
  supervisor_.End(Vm().uid(), {VmExitCause::kGuestPoweredOff, 0, 0, "powered off", 1});
  Drain();
  EXPECT_EQ(State(), "STOPPED");
  EXPECT_EQ(Vm().status().reason(), "GUEST_POWER_OFF");
  Pass(400'000);
  EXPECT_EQ(CountCalls("Start"), 1);
}

TEST_F(VmManagerTest, RestartOnFailure_WaitsAndStartsAgain) {
  auto request = CreateRequest("web", true);
  request.mutable_virtual_machine()->mutable_spec()->set_restart_policy(
      v1::RESTART_POLICY_ON_FAILURE);
  manager_->Create(Call("Create"), request, Keep());
  Drain();
  supervisor_.End(Vm().uid(), {VmExitCause::kKilled, 0, 9, "killed", 1});
  Drain();
  EXPECT_EQ(State(), "FAILED");
  EXPECT_EQ(Vm().status().reason(), "VMM_KILLED");
  Pass(1'100);
  EXPECT_EQ(State(), "RUNNING");
  EXPECT_EQ(Vm().status().restart_count(), 1);
}

TEST_F(VmManagerTest, EndWhileTheStoreFails_IsStoredLater) {
  Create("web", true);
  store_.error = Error{Code::kResourceExhausted, "disk full"};
  supervisor_.End(Vm().uid(), {VmExitCause::kCrashed, 1, 0, "crashed", 1});
  Drain();
  EXPECT_EQ(CountCalls("Release"), 0);
  store_.error.reset();
  Pass(1'100);
  EXPECT_EQ(State(), "STOPPED");
  EXPECT_EQ(Vm().status().reason(), "VMM_FAILED");
  EXPECT_EQ(CountCalls("Release"), 1);
}

TEST_F(VmManagerTest, DaemonRestart_FindsRunningMachinesAndStartsNothing) {
  Create("web", true);
  Restart();
  EXPECT_EQ(State(), "RUNNING");
  EXPECT_EQ(CountCalls("Start"), 1);
}

TEST_F(VmManagerTest, EndWhileTheDaemonWasDown_IsKnownWithItsReason) {
  Create("web", true);
  const std::string uid = Vm().uid();
  supervisor_.vms().at(uid).exit = VmExit{VmExitCause::kGuestPanicked, 1, 0, "panic", 1};
  Restart();
  EXPECT_EQ(State(), "STOPPED");
  EXPECT_EQ(Vm().status().last_exit().reason(), v1::EXIT_REASON_GUEST_PANIC);
  EXPECT_EQ(Vm().status().last_exit().message(), "panic");
}

TEST_F(VmManagerTest, IntentWithoutAProcessAtRestart_IsCarriedOut) {
  supervisor_.HoldAnswers(true);
  Create("web", true);
  const std::string operation = (*reply_)->name();
  supervisor_.vms().clear();  // killed before there was a process
  supervisor_.HoldAnswers(false);
  Restart();
  EXPECT_EQ(State(), "RUNNING");
  EXPECT_TRUE(published_->operations.Get(operation)->done());
}

TEST_F(VmManagerTest, StopAskedBeforeTheDaemonDied_IsCarriedOut) {
  Create("web", true);
  supervisor_.HoldAnswers(true);
  store_.contents.vms[0].vm.set_desired_state(v1::DESIRED_STATE_STOPPED);
  supervisor_.HoldAnswers(false);
  Restart();
  EXPECT_EQ(State(), "STOPPED");
}

TEST_F(VmManagerTest, MachinesAfterAHostRestart_RunAgain) {
  Create("web", true);
  supervisor_.vms().clear();
  Restart();
  EXPECT_EQ(State(), "RUNNING");
  EXPECT_EQ(Vm().status().last_exit().reason(), v1::EXIT_REASON_LOST);
  EXPECT_EQ(CountCalls("Start"), 2);
}

TEST_F(VmManagerTest, ProcessOfNoRecord_IsCleanedAway) {
  supervisor_.Leave("stranger", {});
  Restart();
  EXPECT_TRUE(supervisor_.vms().empty());
}

TEST_F(VmManagerTest, Events_AreInOrderAndSurviveARestart) {
  Create("web", true);
  const auto before = published_->events->Kept(0);
  Restart();
  const auto after = published_->events->Kept(0);
  ASSERT_GE(before.size(), 2u);
  EXPECT_EQ(before.back().second->resume_token(), after.back().second->resume_token());
  EXPECT_EQ(before.front().second->type(), v1::EVENT_TYPE_CREATED);
}

TEST_F(VmManagerTest, RunningMachine_ShowsItsProcess) {
  Create("web", true);
  EXPECT_EQ(Vm().status().pid(), testing::FakeVmSupervisor::kPid);
  Do("Stop", &VmManager::Stop);
  EXPECT_EQ(Vm().status().pid(), 0);
}

TEST_F(VmManagerTest, DiskErrors_AreOneEventASecond) {
  Create("web", true);
  const std::uint64_t before = published_->events->last();
  for (int i = 0; i < 5; ++i)
    supervisor_.Tell(Vm().uid(), VmDiskError{"blk0", "write: No space left on device", 2});
  Drain();
  EXPECT_EQ(published_->events->last(), before + 1);
  Pass(1000);
  supervisor_.Tell(Vm().uid(), VmDiskError{"blk0", "write: No space left on device", 1});
  Drain();
  ASSERT_EQ(published_->events->last(), before + 2);
  const v1::Event event = *published_->events->Kept(before).back().second;
  EXPECT_EQ(event.type(), v1::EVENT_TYPE_DISK_ERROR);
  EXPECT_EQ(event.reason(), "HOST_IO_ERROR");
  EXPECT_EQ(event.message(), "blk0: write: No space left on device (9 since the last event)");
}

TEST_F(VmManagerTest, Unreachable_IsToldOnce) {
  Create("web", true);
  const std::uint64_t before = published_->events->last();
  supervisor_.Tell(Vm().uid(), VmUnreachable{"silent"});
  supervisor_.Tell(Vm().uid(), VmUnreachable{"silent"});
  Drain();
  EXPECT_EQ(published_->events->last(), before + 1);
  supervisor_.Tell(Vm().uid(), VmAnswers{});
  supervisor_.Tell(Vm().uid(), VmAnswers{});
  Drain();
  EXPECT_EQ(published_->events->last(), before + 2);
  EXPECT_TRUE(HasEvent(v1::EVENT_TYPE_HEARTBEAT_RESUMED));
}

}  // namespace
}  // namespace gemel::daemon
