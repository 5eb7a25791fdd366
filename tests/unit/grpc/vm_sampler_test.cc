// Who is asked what they use, how often, and what it means when they do not answer.
#include "grpc/vm_sampler.h"

#include "tests/unit/grpc/manager_fixture.h"

namespace gemel::daemon {
namespace {

class VmSamplerTest : public VmManagerTest {
 protected:
  static constexpr std::int64_t kBeatMs = 10'000;

  void Begin() {
    sampler_ = std::make_unique<VmSampler>(timers_.get(), &clock_, published_.get(), kBeatMs);
    sampler_->Begin(&supervisor_, [this](const VmUid& uid, const VmEvent& event) {
      manager_->OnVmEvent(uid, event);
    });
    Drain();
  }
  // Whether a refresh that begins now is done by now.
  bool Refreshed() {
    sampler_->Refresh([this] { ++refreshed_; });
    Drain();
    return refreshed_ > 0;
  }
  ~VmSamplerTest() override { sampler_.reset(); }

  std::unique_ptr<VmSampler> sampler_;
  int refreshed_ = 0;
};

TEST_F(VmSamplerTest, Refresh_PublishesWhatARunningMachineUses) {
  Create("web", true);
  supervisor_.vms()[Vm().uid()].statistics.cpu_ns = 77;
  Begin();
  EXPECT_TRUE(Refreshed());
  const auto sample = published_->samples.Get(kWeb);
  ASSERT_NE(sample, nullptr);
  EXPECT_EQ(sample->uid, Vm().uid());
  EXPECT_EQ(sample->statistics.cpu_ns, 77u);
}

TEST_F(VmSamplerTest, RefreshWithoutMachines_IsDone) {
  Begin();
  EXPECT_TRUE(Refreshed());
}

TEST_F(VmSamplerTest, SecondRefreshInASecond_AsksNobody) {
  Create("web", true);
  Begin();
  Refreshed();
  const long asked = CountCalls("GetStatistics");
  Refreshed();
  EXPECT_EQ(CountCalls("GetStatistics"), asked);
  Pass(1000);
  Refreshed();
  EXPECT_EQ(CountCalls("GetStatistics"), asked + 1);
}

TEST_F(VmSamplerTest, HostsTimeSetBack_SamplesAgeAllTheSame) {
  Create("web", true);
  Begin();
  Refreshed();
  const long asked = CountCalls("GetStatistics");
  clock_.realtime_ns -= 3'600'000'000'000;
  Pass(1000);
  Refreshed();
  EXPECT_EQ(CountCalls("GetStatistics"), asked + 1);
}

TEST_F(VmSamplerTest, RefreshOfASilentMachine_IsDoneAfterTwoSeconds) {
  Create("web", true);
  supervisor_.HoldAnswers(true);
  Begin();
  EXPECT_FALSE(Refreshed());
  Pass(1999);
  EXPECT_EQ(refreshed_, 0);
  Pass(1);
  EXPECT_EQ(refreshed_, 1);
}

TEST_F(VmSamplerTest, SilenceOfAHeartbeat_IsToldOnceAndSoIsItsEnd) {
  Create("web", true);
  supervisor_.HoldAnswers(true);
  Begin();
  Pass(kBeatMs - 1);
  EXPECT_FALSE(HasEvent(v1::EVENT_TYPE_HEARTBEAT_STOPPED));
  Pass(1);
  EXPECT_TRUE(HasEvent(v1::EVENT_TYPE_HEARTBEAT_STOPPED));
  const std::uint64_t events = published_->events->last();
  Pass(kBeatMs);
  EXPECT_EQ(published_->events->last(), events);
  supervisor_.HoldAnswers(false);
  supervisor_.ReleaseAnswers();
  Drain();
  EXPECT_TRUE(HasEvent(v1::EVENT_TYPE_HEARTBEAT_RESUMED));
  EXPECT_EQ(published_->events->last(), events + 1);
}

TEST_F(VmSamplerTest, FailedAnswers_AreSilence) {
  Create("web", true);
  Begin();
  supervisor_.FailNext({Code::kUnavailable, "gone"});
  Pass(kBeatMs);
  EXPECT_FALSE(HasEvent(v1::EVENT_TYPE_HEARTBEAT_STOPPED));
  supervisor_.FailNext({Code::kUnavailable, "gone"});
  Pass(kBeatMs);
  EXPECT_TRUE(HasEvent(v1::EVENT_TYPE_HEARTBEAT_STOPPED));
  Pass(kBeatMs);
  EXPECT_TRUE(HasEvent(v1::EVENT_TYPE_HEARTBEAT_RESUMED));
}

TEST_F(VmSamplerTest, EndedWhileItWasSilent_ItsNextSilenceIsToldToo) {
  Create("web", true);
  supervisor_.HoldAnswers(true);
  supervisor_.FailNext({Code::kNotFound, "it has ended"});
  int silences = 0;
  sampler_ = std::make_unique<VmSampler>(timers_.get(), &clock_, published_.get(), kBeatMs);
  sampler_->Begin(&supervisor_, [&](const VmUid&, const VmEvent& event) {
    const auto* unreachable = std::get_if<VmUnreachable>(&event);
    silences += unreachable != nullptr && unreachable->silent ? 1 : 0;
  });
  Pass(kBeatMs);
  EXPECT_EQ(silences, 1);
  supervisor_.ReleaseAnswers();
  Drain();
  Pass(kBeatMs);  // it is asked again
  Pass(kBeatMs);
  EXPECT_EQ(silences, 2);
}

TEST_F(VmSamplerTest, MachineThatStopped_HasNoSample) {
  Create("web", true);
  Begin();
  Refreshed();
  Do("Stop", &VmManager::Stop);
  Pass(kBeatMs);
  EXPECT_EQ(published_->samples.Get(kWeb), nullptr);
  EXPECT_FALSE(HasEvent(v1::EVENT_TYPE_HEARTBEAT_STOPPED));
}

TEST_F(VmSamplerTest, SamplerThatGoesWhileAnswersAreDue_IsNotCalled) {
  Create("web", true);
  supervisor_.HoldAnswers(true);
  Begin();
  sampler_.reset();
  supervisor_.ReleaseAnswers();
  Drain();
  EXPECT_EQ(published_->samples.Get(kWeb), nullptr);
}

}  // namespace
}  // namespace gemel::daemon
