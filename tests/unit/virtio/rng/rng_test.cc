#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>

#include "base/log.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/fake_mmio_driver.h"
#include "tests/fakes/test_memory.h"
#include "virtio/rng/device.h"
#include "virtio/transport/mmio_transport.h"

namespace gemel::virtio {
namespace {

using testing::DescriptorChainBuilder;
using testing::FakeDriverQueue;
using testing::FakeInterrupt;
using testing::FakeMmioDriver;
using testing::MakeTestMemory;

// The device behind its real transport and on its real thread, with a driver that sleeps until the
// line is triggered.
class RngTest : public ::testing::Test {
 protected:
  RngTest() {
    auto rng = CreateRng("rng0");
    CHECK(rng.has_value());
    auto transport = MmioTransport::Create(
        {.memory = memory_.get(), .io_events = nullptr, .base = 0, .line = &line_, .name = "rng0"},
        *std::move(rng));
    CHECK(transport.has_value());
    transport_ = *std::move(transport);
    driver_.emplace(*transport_);
  }

  void Start(std::uint64_t features = kFeatureVersion1) {
    driver_->Start(features, queue_.layout());
    ASSERT_EQ(driver_->status() & kStatusNeedsReset, 0u);
  }

  UsedElement AwaitUsed() {
    for (;;) {
      const int before = line_.count();
      if (const auto used = queue_.TakeUsed()) return *used;
      CHECK(line_.WaitFor(before + 1));
    }
  }

  std::unique_ptr<GuestMemory> memory_ = MakeTestMemory(8 << 20);
  FakeDriverQueue queue_{*memory_, 64};
  FakeInterrupt line_;
  std::unique_ptr<MmioTransport> transport_;
  std::optional<FakeMmioDriver> driver_;
};

TEST_F(RngTest, Request_IsFilled) {
  Start();
  GuestAddress at;
  DescriptorChainBuilder(queue_).AppendWritable(64, &at).Build();
  driver_->Notify(0);
  EXPECT_EQ(AwaitUsed().length, 64u);
  const auto bytes = queue_.ReadGuest(at, 64);
  EXPECT_FALSE(std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; }));
}

TEST_F(RngTest, Request_OfferedBeforeDriverOk_IsFilledWithoutAKick) {
  DescriptorChainBuilder(queue_).AppendWritable(8).Build();
  Start();
  EXPECT_EQ(AwaitUsed().length, 8u);
}

TEST_F(RngTest, Request_OfSeveralBuffers_IsFilled) {
  Start();
  DescriptorChainBuilder(queue_).AppendWritable(3).AppendWritable(5).Build();
  driver_->Notify(0);
  EXPECT_EQ(AwaitUsed().length, 8u);
}

TEST_F(RngTest, Request_Huge_IsFilledInPart) {
  Start();
  DescriptorChainBuilder(queue_)
      .AppendRaw(GuestAddress{0x100000}, 4 << 20, kDescriptorWrite)
      .Build();
  driver_->Notify(0);
  const auto used = AwaitUsed();
  EXPECT_GT(used.length, 0u);
  EXPECT_LT(used.length, 1u << 20);
}

TEST_F(RngTest, Request_WithoutWritableBuffer_ComesBackEmpty) {
  Start();
  DescriptorChainBuilder(queue_).AppendReadable("nothing to fill").Build();
  driver_->Notify(0);
  EXPECT_EQ(AwaitUsed().length, 0u);
}

TEST_F(RngTest, MoreRequestsThanOneTurnTakes_AreAllFilledByOneKick) {
  Start(kFeatureVersion1 | kFeatureEventIdx);
  queue_.SetUsedEvent(63);
  for (int i = 0; i < 64; ++i) DescriptorChainBuilder(queue_).AppendWritable(16).Build();
  driver_->Notify(0);
  ASSERT_TRUE(line_.WaitFor(1));
  for (int i = 0; i < 64; ++i) EXPECT_EQ(AwaitUsed().length, 16u);
}

TEST_F(RngTest, ResetAndStartAgain_Works) {
  Start();
  for (int i = 0; i < 20; ++i) {
    driver_->Reset();
    ASSERT_EQ(driver_->status(), 0u);
    ASSERT_TRUE(memory_->Clear().has_value());
    queue_ = FakeDriverQueue(*memory_, 64);
    Start();
    DescriptorChainBuilder(queue_).AppendWritable(16).Build();
    driver_->Notify(0);
    EXPECT_EQ(AwaitUsed().length, 16u);
  }
}

TEST_F(RngTest, BrokenRing_NeedsResetWithOneLogLine) {
  std::FILE* const log = std::tmpfile();
  SetLogFd(fileno(log));
  Start();
  queue_.Offer(64);
  driver_->Notify(0);
  ASSERT_TRUE(line_.WaitFor(1));
  EXPECT_NE(driver_->status() & kStatusNeedsReset, 0u);
  EXPECT_EQ(driver_->Read(mmio::kInterruptStatus), mmio::kInterruptConfig);

  // Further kicks are not heard, and say nothing.
  driver_->Notify(0);
  driver_->Reset();
  EXPECT_EQ(driver_->status(), 0u);
  SetLogFd(2);
  std::rewind(log);
  std::string text(4096, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), log));
  std::fclose(log);
  EXPECT_EQ(std::ranges::count(text, '\n'), 1) << text;
  EXPECT_NE(text.find("rng0: queue 0: descriptor index past the table"), std::string::npos) << text;
}

}  // namespace
}  // namespace gemel::virtio
