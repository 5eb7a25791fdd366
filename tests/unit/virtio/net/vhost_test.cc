#include "virtio/net/vhost.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/fake_vhost_net.h"
#include "tests/fakes/test_memory.h"
#include "virtio/net/config_space.h"

namespace gemel::virtio {
namespace {

using testing::FakeDriverQueue;
using testing::FakeInterrupt;
using testing::FakeVhostNet;
using testing::FakeVhostState;
using testing::MakeTestMemory;

constexpr int kTap = 77;

// An interrupt that the kernel can raise by itself.
class EventInterrupt : public Interrupt {
 public:
  void Trigger() override { ++triggers; }
  int event_fd() const override { return event_->get(); }
  std::atomic<int> triggers{0};

 private:
  const Result<EventFd> event_ = EventFd::Create();
};

// A device of one pair that has nothing but its vhost.
class VhostClient : public Worker::Client {
 public:
  explicit VhostClient(FakeVhostState* state)
      : vhost_(std::make_unique<FakeVhostNet>(state), kTap) {}

  void OnStart(Activation& activation) override {
    auto started = vhost_.Start(worker, activation, 0);
    outcome.set_value(started ? (*started ? "started" : "not for vhost") : started.error().message);
    left = activation.queues.size();
  }
  void OnKick(ActiveQueue&) override { ++kicks; }
  void OnStop(std::function<void()> stopped) override {
    vhost_.Stop();
    stopped();
  }
  // On the worker's thread, waiting for its end.
  bool SetRunning(bool running) {
    std::promise<bool> done;
    worker->loop().Post([&] { done.set_value(vhost_.SetRunning(running).has_value()); });
    return done.get_future().get();
  }

  Worker* worker = nullptr;
  std::promise<std::string> outcome;
  std::size_t left = 0;  // queues that the worker serves
  std::atomic<int> kicks{0};

 private:
  NetVhost vhost_;
};

class NetVhostTest : public ::testing::Test {
 protected:
  NetVhostTest() {
    auto worker = Worker::Create("net0", &client_, ThreadRole::kNet);
    EXPECT_TRUE(worker);
    worker_ = *std::move(worker);
    client_.worker = worker_.get();
  }
  ~NetVhostTest() override { Reset(); }

  std::string Activate(std::initializer_list<std::uint16_t> indices, Interrupt& interrupt) {
    Activation activation;
    activation.memory = memory_.get();
    activation.features = kFeatureVersion1 | kFeatureEventIdx | kNetFeatureMrgRxbuf |
                          kNetFeatureCsum | kNetFeatureCtrlVq;
    activation.needs_reset = [this] { needs_reset_.set_value(); };
    for (const std::uint16_t index : indices) {
      drivers_.push_back(
          std::make_unique<FakeDriverQueue>(*memory_, 16, GuestAddress{0x10000u * (index + 1u)}));
      auto queue = VirtQueue::Create(*memory_, drivers_.back()->layout(), activation.features, 32);
      EXPECT_TRUE(queue);
      activation.queues.push_back({index, *std::move(queue), &kicks_[index], &interrupt});
    }
    EXPECT_TRUE(worker_->Activate(std::move(activation)));
    return client_.outcome.get_future().get();
  }
  void Reset() {
    std::promise<void> done;
    worker_->Reset([&] { done.set_value(); });
    done.get_future().get();
  }

  const std::unique_ptr<GuestMemory> memory_ = MakeTestMemory();
  std::vector<std::unique_ptr<FakeDriverQueue>> drivers_;
  std::vector<EventFd> kicks_ = [] {
    std::vector<EventFd> kicks;
    for (int i = 0; i < 3; ++i) kicks.push_back(*EventFd::Create());
    return kicks;
  }();
  FakeVhostState state_;
  FakeInterrupt interrupt_;
  EventInterrupt event_interrupt_;
  std::promise<void> needs_reset_;
  VhostClient client_{&state_};
  std::unique_ptr<Worker> worker_;
};

TEST_F(NetVhostTest, Start_TellsTheKernelWhereAllLies) {
  ASSERT_EQ(Activate({0, 1, 2}, event_interrupt_), "started");
  ASSERT_EQ(state_.memory.size(), 1u);
  const GuestMemory::Region& region = memory_->regions()[0];
  EXPECT_EQ(state_.memory[0].size, region.size);
  ASSERT_TRUE(state_.receive && state_.transmit);
  const auto host = [&](GuestAddress at) { return state_.memory[0].host + at.value; };
  EXPECT_EQ(state_.receive->size, 16u);
  EXPECT_EQ(state_.receive->descriptors, host(drivers_[0]->layout().descriptors));
  EXPECT_EQ(state_.receive->driver_ring, host(drivers_[0]->layout().driver_ring));
  EXPECT_EQ(state_.receive->device_ring, host(drivers_[0]->layout().device_ring));
  EXPECT_EQ(state_.transmit->descriptors, host(drivers_[1]->layout().descriptors));
  EXPECT_EQ(state_.receive->kick, kicks_[0].get());
  EXPECT_EQ(state_.transmit->kick, kicks_[1].get());
}

TEST_F(NetVhostTest, Start_PassesOnWhatConcernsTheKernelAlone) {
  ASSERT_EQ(Activate({0, 1}, event_interrupt_), "started");
  EXPECT_EQ(state_.negotiated, kFeatureVersion1 | kFeatureEventIdx | kNetFeatureMrgRxbuf);
}

TEST_F(NetVhostTest, Start_LeavesTheControlQueueToTheWorker) {
  ASSERT_EQ(Activate({0, 1, 2}, event_interrupt_), "started");
  EXPECT_TRUE(client_.SetRunning(true));
  EXPECT_EQ(client_.left, 1u);
}

TEST_F(NetVhostTest, InterruptWithAnEventfd_IsTheKernelsToRaise) {
  ASSERT_EQ(Activate({0, 1}, event_interrupt_), "started");
  EXPECT_EQ(state_.receive->call, event_interrupt_.event_fd());
  EXPECT_EQ(state_.transmit->call, event_interrupt_.event_fd());
}

TEST_F(NetVhostTest, InterruptWithoutAnEventfd_IsRelayed) {
  ASSERT_EQ(Activate({0, 1}, interrupt_), "started");
  EventFd call(UniqueFd(dup(state_.receive->call)));
  call.Signal();
  EXPECT_TRUE(interrupt_.WaitFor(1));
}

TEST_F(NetVhostTest, NoFrameMoves_UntilItRuns) {
  ASSERT_EQ(Activate({0, 1}, event_interrupt_), "started");
  EXPECT_EQ(state_.tap, -1);
  EXPECT_TRUE(client_.SetRunning(true));
  EXPECT_EQ(state_.tap, kTap);
  EXPECT_TRUE(client_.SetRunning(false));
  EXPECT_EQ(state_.tap, -1);
}

TEST_F(NetVhostTest, BuffersOfferedBefore_AreFoundWhenItRuns) {
  ASSERT_EQ(Activate({0, 1}, event_interrupt_), "started");
  kicks_[0].Drain();
  kicks_[1].Drain();
  EXPECT_TRUE(client_.SetRunning(true));
  EXPECT_TRUE(kicks_[0].Drain());
  EXPECT_TRUE(kicks_[1].Drain());
}

TEST_F(NetVhostTest, RunningTwice_ConnectsOnce) {
  ASSERT_EQ(Activate({0, 1}, event_interrupt_), "started");
  EXPECT_TRUE(client_.SetRunning(true));
  EXPECT_TRUE(client_.SetRunning(true));
  EXPECT_EQ(state_.connects, 1);
}

TEST_F(NetVhostTest, RefusedConnection_CanBeTriedAgain) {
  ASSERT_EQ(Activate({0, 1}, event_interrupt_), "started");
  state_.refuse_connect = true;
  EXPECT_FALSE(client_.SetRunning(true));
  state_.refuse_connect = false;
  EXPECT_TRUE(client_.SetRunning(true));
  EXPECT_EQ(state_.tap, kTap);
}

TEST_F(NetVhostTest, RefusedSetUp_LeavesTheQueuesToTheWorker) {
  state_.refuse_set_up = true;
  EXPECT_EQ(Activate({0, 1, 2}, event_interrupt_), "set-up refused");
  Reset();
  EXPECT_EQ(client_.left, 3u);
}

TEST_F(NetVhostTest, OneQueueOfTwo_IsNotForVhost) {
  EXPECT_EQ(Activate({1, 2}, event_interrupt_), "not for vhost");
  Reset();
  EXPECT_EQ(client_.left, 2u);
  EXPECT_FALSE(state_.receive);
}

TEST_F(NetVhostTest, RingThatTheKernelFindsBroken_BreaksTheDevice) {
  ASSERT_EQ(Activate({0, 1}, event_interrupt_), "started");
  EXPECT_TRUE(client_.SetRunning(true));
  EventFd error(UniqueFd(dup(state_.transmit->error)));
  error.Signal();
  needs_reset_.get_future().get();
  EXPECT_TRUE(client_.SetRunning(true));  // has no effect any more
  EXPECT_EQ(state_.tap, -1);
}

TEST_F(NetVhostTest, Reset_MakesTheKernelLetGo) {
  ASSERT_EQ(Activate({0, 1}, interrupt_), "started");
  EXPECT_TRUE(client_.SetRunning(true));
  Reset();
  EXPECT_EQ(state_.tap, -1);
  EXPECT_FALSE(state_.receive || state_.transmit);
}

}  // namespace
}  // namespace gemel::virtio
