#include "virtio/worker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "base/gate.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/test_memory.h"

namespace gemel::virtio {
namespace {

using testing::DescriptorChainBuilder;
using testing::FakeDriverQueue;
using testing::FakeInterrupt;
using testing::MakeTestMemory;

// Takes every chain and keeps it until told to end them.
class KeepingClient : public Worker::Client {
 public:
  void OnStart(Activation&) override { ++starts; }
  void OnKick(ActiveQueue& queue) override {
    ++kicks;
    for (;;) {
      auto popped = queue.queue->Pop();
      if (!popped) return worker->Break(queue, popped.error());
      if (!popped->has_value()) break;
      gate_.Enter();
      kept_.push_back(**std::move(popped));
    }
    queue.interrupt->Trigger();
  }
  void OnStop(std::function<void()> stopped) override {
    gate_.Close([this, stopped = std::move(stopped)] {
      gate_.Open();
      stopped();
    });
  }
  void EndAll() {
    while (!kept_.empty()) {
      kept_.pop_back();
      gate_.Leave();
    }
  }

  Worker* worker = nullptr;
  std::atomic<int> starts{0}, kicks{0};

 private:
  std::vector<DescriptorChain> kept_;
  Gate gate_;
};

class WorkerTest : public ::testing::Test {
 protected:
  WorkerTest() { client_.worker = worker_.get(); }
  ~WorkerTest() override {
    OnWorker([&] { client_.EndAll(); });
    worker_->Reset([] {});
    OnWorker([] {});
  }

  void Activate() {
    Activation activation{.memory = memory_.get(),
                          .queues = {},
                          .config_interrupt = nullptr,
                          .needs_reset = [this] { ++needs_resets_; },
                          .features = 0};
    activation.queues.push_back(
        {.index = 0,
         .queue = VirtQueue::Create(*memory_, driver_.layout(), 0, 4).value(),
         .kick = &kick_,
         .interrupt = &interrupt_});
    ASSERT_TRUE(worker_->Activate(std::move(activation)).has_value());
  }

  // Runs `task` on the worker's thread and waits for it; what was posted before has run then.
  void OnWorker(std::function<void()> task) {
    const auto ran = std::make_shared<std::promise<void>>();
    worker_->loop().Post([&task, ran] {
      task();
      ran->set_value();
    });
    ran->get_future().wait();
  }

  // False if the reset is not done within 10 s.
  bool ResetAndWait() {
    const auto done = std::make_shared<std::promise<void>>();
    worker_->Reset([done] { done->set_value(); });
    return done->get_future().wait_for(std::chrono::seconds(10)) == std::future_status::ready;
  }

  std::unique_ptr<GuestMemory> memory_ = MakeTestMemory();
  FakeDriverQueue driver_{*memory_, 8};
  FakeInterrupt interrupt_;
  EventFd kick_ = EventFd::Create().value();
  std::atomic<int> needs_resets_{0};
  KeepingClient client_;
  std::unique_ptr<Worker> worker_ = Worker::Create("worker-under-test", &client_).value();
};

TEST_F(WorkerTest, Activate_WithoutAKick_LooksAtTheQueueOnce) {
  Activate();
  ASSERT_TRUE(interrupt_.WaitFor(1));
  EXPECT_EQ(client_.starts, 1);
  EXPECT_EQ(client_.kicks, 1);
}

TEST_F(WorkerTest, Reset_NothingInFlight_IsDone) {
  Activate();
  EXPECT_TRUE(ResetAndWait());
}

TEST_F(WorkerTest, Reset_WithoutActivation_IsDone) { EXPECT_TRUE(ResetAndWait()); }

TEST_F(WorkerTest, Reset_ChainsInFlight_IsDoneWhenTheyAreGone) {
  DescriptorChainBuilder(driver_).AppendWritable(4).Build();
  Activate();
  ASSERT_TRUE(interrupt_.WaitFor(1));
  std::atomic<bool> done = false;
  worker_->Reset([&] { done = true; });
  OnWorker([] {});
  EXPECT_FALSE(done);

  OnWorker([&] { client_.EndAll(); });

  EXPECT_TRUE(done);
  EXPECT_TRUE(driver_.TakeUsed().has_value());
}

TEST_F(WorkerTest, Reset_DuringAnother_EndsWithIt) {
  DescriptorChainBuilder(driver_).AppendWritable(4).Build();
  Activate();
  ASSERT_TRUE(interrupt_.WaitFor(1));
  std::atomic<int> done = 0;
  worker_->Reset([&] { ++done; });
  worker_->Reset([&] { ++done; });
  OnWorker([] {});
  EXPECT_EQ(done, 0);
  OnWorker([&] { client_.EndAll(); });
  EXPECT_EQ(done, 2);
}

TEST_F(WorkerTest, Kick_AfterReset_IsNotHeard) {
  Activate();
  ASSERT_TRUE(interrupt_.WaitFor(1));
  worker_->Reset([] {});
  OnWorker([] {});
  kick_.Signal();
  OnWorker([] {});
  OnWorker([] {});
  EXPECT_EQ(client_.kicks, 1);
}

TEST_F(WorkerTest, Break_TellsTheTransportOnceAndHearsNoMoreKicks) {
  driver_.Offer(99);
  Activate();
  OnWorker([] {});
  while (needs_resets_ == 0) OnWorker([] {});
  kick_.Signal();
  OnWorker([] {});
  OnWorker([] {});
  EXPECT_EQ(needs_resets_, 1);
  EXPECT_EQ(client_.kicks, 1);
}

TEST_F(WorkerTest, Activate_AfterBreakAndReset_HearsKicksAgain) {
  driver_.Offer(99);
  Activate();
  while (needs_resets_ == 0) OnWorker([] {});
  worker_->Reset([] {});
  driver_.SetAvailIndex(0);
  Activate();
  EXPECT_TRUE(interrupt_.WaitFor(1));
}

}  // namespace
}  // namespace gemel::virtio
