#include "virtio/balloon/device.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/fake_mmio_driver.h"
#include "tests/fakes/test_memory.h"
#include "virtio/transport/mmio_transport.h"

namespace gemel::virtio {
namespace {

using testing::DescriptorChainBuilder;
using testing::FakeDriverQueue;
using testing::FakeInterrupt;
using testing::FakeMmioDriver;

constexpr std::uint64_t kAll = kFeatureVersion1 | kBalloonFeatureStatistics |
                               kBalloonFeatureDeflateOnOom | kBalloonFeatureReporting;
// What the tests' guest gives up lies behind its rings.
constexpr std::uint64_t kPlay = 16ull << 20;

// The device behind its real transport and on its real thread; each queue's rings lie in a MiB of
// their own.
class BalloonTest : public ::testing::TestWithParam<MemoryBacking> {
 protected:
  BalloonTest() {
    const std::array ranges{
        MemoryRange{GuestAddress{0}, 1 << 20}, MemoryRange{GuestAddress{2 << 20}, 1 << 20},
        MemoryRange{GuestAddress{4 << 20}, 1 << 20}, MemoryRange{GuestAddress{6 << 20}, 1 << 20},
        MemoryRange{GuestAddress{kPlay}, 16ull << 20}};
    auto memory = GuestMemory::Create(ranges, GetParam());
    CHECK(memory.has_value());
    memory_ = *std::move(memory);
    for (std::uint64_t i = 0; i < 4; ++i)
      queues_.emplace_back(*memory_, std::uint16_t{64}, GuestAddress{(2 * i) << 20});
    auto balloon = CreateBalloon({.name = "balloon0", .target = 64 << 20});
    CHECK(balloon.has_value());
    control_ = balloon->control;
    auto transport = MmioTransport::Create({.memory = memory_.get(),
                                            .io_events = nullptr,
                                            .base = 0,
                                            .line = &line_,
                                            .name = "balloon0"},
                                           std::move(balloon->device));
    CHECK(transport.has_value());
    transport_ = *std::move(transport);
    driver_.emplace(*transport_);
  }

  void Start(std::uint64_t features = kAll) {
    ASSERT_TRUE(driver_->Negotiate(features));
    const bool statistics = (features & kBalloonFeatureStatistics) != 0;
    const bool reporting = (features & kBalloonFeatureReporting) != 0;
    for (std::uint32_t i = 0; i < 2u + statistics + reporting; ++i)
      driver_->SetUpQueue(i, queues_[i].layout());
    driver_->SetStatus(kStatusDriverOk);
    ASSERT_EQ(driver_->status() & kStatusNeedsReset, 0u);
  }

  UsedElement AwaitUsed(std::uint32_t queue) {
    for (;;) {
      const int before = line_.count();
      if (const auto used = queues_[queue].TakeUsed()) return *used;
      CHECK(line_.WaitFor(before + 1));
    }
  }

  void Offer(std::uint32_t queue, const std::vector<std::uint32_t>& pages) {
    DescriptorChainBuilder(queues_[queue]).AppendReadable(std::as_bytes(std::span(pages))).Build();
    driver_->Notify(queue);
    AwaitUsed(queue);
  }
  void OfferStatistics(std::uint16_t tag, std::uint64_t value) {
    const BalloonStatistic entry{tag, value};
    DescriptorChainBuilder(queues_[2]).AppendReadable(std::as_bytes(std::span(&entry, 1))).Build();
    driver_->Notify(2);
  }
  BalloonState AwaitStatistics(std::uint64_t free) {
    for (;;) {
      const BalloonState state = control_->Poll();
      if (state.statistics[4] == free) return state;
      sched_yield();
    }
  }

  void Fill() {
    const std::vector<std::byte> bytes(16 << 20, std::byte{0x5a});
    ASSERT_TRUE(memory_->WriteBytes(GuestAddress{kPlay}, bytes));
  }
  bool IsZero(std::uint64_t page) const {
    std::vector<std::byte> bytes(4096);
    CHECK(memory_->ReadBytes(GuestAddress{kPlay + page * 4096}, bytes));
    return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
  }
  static std::uint32_t Number(std::uint64_t page) {
    return static_cast<std::uint32_t>((kPlay >> 12) + page);
  }

  std::unique_ptr<GuestMemory> memory_;
  std::vector<FakeDriverQueue> queues_;
  FakeInterrupt line_;
  std::unique_ptr<MmioTransport> transport_;
  std::optional<FakeMmioDriver> driver_;
  BalloonControl* control_ = nullptr;
};

TEST_P(BalloonTest, Config_HasTheTarget) {
  EXPECT_EQ(driver_->Read(mmio::kConfig), (64u << 20) / 4096);
  EXPECT_EQ(driver_->Read(mmio::kConfig + 4), 0u);
}

TEST_P(BalloonTest, NewTarget_IsTold) {
  Start();
  const int before = line_.count();
  control_->SetTarget(8 << 20);
  ASSERT_TRUE(line_.WaitFor(before + 1));
  EXPECT_EQ(driver_->Read(mmio::kInterruptStatus) & mmio::kInterruptConfig, mmio::kInterruptConfig);
  EXPECT_EQ(driver_->Read(mmio::kConfig), (8u << 20) / 4096);
}

TEST_P(BalloonTest, TargetBeyondAllBounds_IsCut) {
  control_->SetTarget(~0ull);
  EXPECT_EQ(driver_->Read(mmio::kConfig), 0xffff'ffffu);
}

TEST_P(BalloonTest, Actual_IsTheDrivers) {
  Start();
  driver_->Write(mmio::kConfig + 4, 5);
  driver_->Write(mmio::kConfig, 77);  // not the driver's
  EXPECT_EQ(control_->Poll().actual, 5u * 4096);
  EXPECT_EQ(control_->Poll().target, 64u << 20);
}

TEST_P(BalloonTest, InflatedPages_AreGivenBack_AndOthersAreNot) {
  Start();
  Fill();
  Offer(0, {Number(10), Number(12), Number(11)});
  EXPECT_FALSE(IsZero(9));
  EXPECT_TRUE(IsZero(10) && IsZero(11) && IsZero(12));
  EXPECT_FALSE(IsZero(13));
}

TEST_P(BalloonTest, PagesThatAreNoRam_OrGivenTwice_HarmNobody) {
  Start();
  Fill();
  Offer(0, {0xffff'ffff, 0x300, Number(1), Number(1), 0x10'0000});
  Offer(0, {Number(1)});
  EXPECT_TRUE(IsZero(1));
  EXPECT_FALSE(IsZero(0));
}

TEST_P(BalloonTest, RunAcrossTheEndOfRam_IsGivenBackAsFarAsItIsRam) {
  Start();
  Fill();
  Offer(0, {Number(4095), Number(4096), Number(4097)});
  EXPECT_TRUE(IsZero(4095));
  EXPECT_FALSE(IsZero(4094));
}

TEST_P(BalloonTest, DeflatedPages_CanBeUsedAgain) {
  Start();
  Fill();
  Offer(0, {Number(3)});
  Offer(1, {Number(3)});
  ASSERT_TRUE(memory_->Write(GuestAddress{kPlay + 3 * 4096}, 7));
  EXPECT_FALSE(IsZero(3));
}

TEST_P(BalloonTest, ReportedPages_AreGivenBackWhole) {
  Start();
  Fill();
  DescriptorChainBuilder(queues_[3])
      .AppendRaw(GuestAddress{kPlay + 100}, 3 * 4096, kDescriptorWrite)
      .Build();
  driver_->Notify(3);
  AwaitUsed(3);
  EXPECT_FALSE(IsZero(0));
  EXPECT_TRUE(IsZero(1) && IsZero(2));
  EXPECT_FALSE(IsZero(3));
  EXPECT_EQ(control_->Poll().reported, 2u * 4096);
}

TEST_P(BalloonTest, ReportingWithoutStatistics_MovesUpAQueue) {
  Start(kFeatureVersion1 | kBalloonFeatureReporting);
  Fill();
  DescriptorChainBuilder(queues_[2]).AppendRaw(GuestAddress{kPlay}, 4096, kDescriptorWrite).Build();
  driver_->Notify(2);
  AwaitUsed(2);
  EXPECT_TRUE(IsZero(0));
}

TEST_P(BalloonTest, Statistics_AreAskedForByPolling) {
  Start();
  EXPECT_EQ(control_->Poll().statistics_age_ms, -1);
  OfferStatistics(4, 1000);
  AwaitStatistics(1000);
  control_->Poll();  // the last one may have asked just before the device took them
  AwaitUsed(2);
  OfferStatistics(4, 2000);
  EXPECT_GE(AwaitStatistics(2000).statistics_age_ms, 0);
}

TEST_P(BalloonTest, ManyStatisticsBuffers_ComeBackButTheLast) {
  Start();
  for (std::uint64_t i = 1; i <= 40; ++i) OfferStatistics(4, i);
  for (int i = 0; i < 39; ++i) AwaitUsed(2);
  EXPECT_EQ(queues_[2].TakeUsed(), std::nullopt);
  AwaitStatistics(40);
}

TEST_P(BalloonTest, Reset_ForgetsWhatTheDriverSaid) {
  Start();
  driver_->Write(mmio::kConfig + 4, 5);
  OfferStatistics(4, 1000);
  AwaitStatistics(1000);
  driver_->Reset();
  ASSERT_EQ(driver_->status(), 0u);
  const BalloonState state = control_->Poll();
  EXPECT_EQ(state.actual, 0u);
  EXPECT_EQ(state.statistics_age_ms, -1);
  EXPECT_EQ(state.target, 64u << 20);
}

TEST_P(BalloonTest, BrokenRing_NeedsReset) {
  SetLogLevel(LogLevel::kError);
  Start();
  queues_[0].Offer(64);
  driver_->Notify(0);
  ASSERT_TRUE(line_.WaitFor(1));
  EXPECT_NE(driver_->status() & kStatusNeedsReset, 0u);
  control_->Poll();
  control_->SetTarget(0);
  SetLogLevel(LogLevel::kInfo);
}

INSTANTIATE_TEST_SUITE_P(Backings, BalloonTest,
                         ::testing::Values(MemoryBacking::kAnonymous, MemoryBacking::kShared));

TEST(BalloonFeatures, WhatIsTurnedOff_IsNotOffered) {
  const auto balloon =
      CreateBalloon({.name = "balloon0", .deflate_on_oom = false, .free_page_reporting = false});
  ASSERT_TRUE(balloon);
  EXPECT_EQ(balloon->device->features(), kBalloonFeatureStatistics);
  EXPECT_EQ(balloon->device->queue_sizes().size(), 3u);
}

}  // namespace
}  // namespace gemel::virtio
