#include "virtio/blk/device.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <future>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "base/load_le.h"
#include "tests/fakes/fake_block_backend.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/test_memory.h"
#include "virtio/blk/config_space.h"

namespace gemel::virtio {
namespace {

using testing::DescriptorChainBuilder;
using testing::FakeBlockBackend;
using testing::FakeDriverQueue;
using testing::FakeInterrupt;
using testing::MakeTestMemory;
using Op = FakeBlockBackend::Op;

std::string Header(BlkRequestType type, std::uint64_t sector = 0) {
  const BlkRequestHeader header{static_cast<std::uint32_t>(type), 0, sector};
  return {reinterpret_cast<const char*>(&header), sizeof header};
}
std::string Segment(std::uint64_t sector, std::uint32_t sectors, std::uint32_t flags = 0) {
  const BlkSegment segment{sector, sectors, flags};
  return {reinterpret_cast<const char*>(&segment), sizeof segment};
}
EventFd MakeEvent() {
  auto event = EventFd::Create();
  CHECK(event.has_value());
  return *std::move(event);
}

// The device on its real thread with a disk in memory, and a driver that sleeps until interrupted.
class BlkTest : public ::testing::Test {
 protected:
  ~BlkTest() override {
    if (started_) Reset();
  }
  void Make(FakeBlockBackend::Options options = {}) {
    auto backend = std::make_unique<FakeBlockBackend>(options);
    backend_ = backend.get();
    auto device = CreateBlk({.name = "blk0",
                             .serial = "disk-1",
                             .backend = std::move(backend),
                             .counters = &counters_,
                             .on_trouble = [this](const BlkTrouble& trouble) {
                               const std::lock_guard lock(mutex_);
                               troubles_.push_back(trouble);
                             }});
    CHECK(device.has_value());
    device_ = *std::move(device);
  }
  void Start(std::uint64_t without = 0) {
    if (device_ == nullptr) Make();
    const std::uint64_t features = (device_->features() & ~without) | kFeatureVersion1;
    auto queue = VirtQueue::Create(*memory_, driver_.layout(), features, 128);
    CHECK(queue.has_value());
    Activation activation{.memory = memory_.get(),
                          .queues = {},
                          .config_interrupt = nullptr,
                          .needs_reset = [this] { needs_reset_.Trigger(); },
                          .features = features};
    activation.queues.push_back(
        {.index = 0, .queue = *std::move(queue), .kick = &kick_, .interrupt = &interrupt_});
    CHECK(device_->Activate(std::move(activation)).has_value());
    started_ = true;
  }
  std::future<void> StartReset() {
    auto done = std::make_shared<std::promise<void>>();
    started_ = false;
    device_->Reset([done] { done->set_value(); });
    return done->get_future();
  }
  void Reset() { StartReset().get(); }

  // Kicks, and waits for the next chain to come back.
  UsedElement AwaitUsed() {
    kick_.Signal();
    for (;;) {
      const int before = interrupt_.count();
      if (const auto used = driver_.TakeUsed()) return *used;
      CHECK(interrupt_.WaitFor(before + 1));
    }
  }
  // A request with its status in a descriptor of its own. Returns the status.
  BlkStatus Do(const std::string& readable, std::uint32_t writable = 0) {
    GuestAddress status;
    DescriptorChainBuilder chain(driver_);
    chain.AppendReadable(readable);
    if (writable > 0) chain.AppendWritable(writable, &data_at_);
    chain.AppendWritable(1, &status);
    driver_.WriteGuest(status, std::array{std::byte{0xff}});
    chain.Build();
    used_ = AwaitUsed();
    return static_cast<BlkStatus>(driver_.ReadGuest(status, 1)[0]);
  }

  std::unique_ptr<GuestMemory> memory_ = MakeTestMemory(8 << 20);
  FakeDriverQueue driver_{*memory_, 64};
  EventFd kick_ = MakeEvent();
  FakeInterrupt interrupt_, needs_reset_;
  BlkCounters counters_;
  std::mutex mutex_;
  std::vector<BlkTrouble> troubles_;  // under mutex_
  std::unique_ptr<VirtioDevice> device_;
  FakeBlockBackend* backend_ = nullptr;  // device_'s
  bool started_ = false;
  GuestAddress data_at_;
  UsedElement used_{};
};

TEST_F(BlkTest, Read_FillsTheBuffer) {
  Start();
  backend_->data()[1024] = std::byte{0x5a};
  EXPECT_EQ(Do(Header(BlkRequestType::kIn, 2), 512), BlkStatus::kOk);
  EXPECT_EQ(used_.length, 513u);
  EXPECT_EQ(driver_.ReadGuest(data_at_, 1)[0], std::byte{0x5a});
  EXPECT_EQ(counters_.reads, 1u);
  EXPECT_EQ(counters_.bytes_read, 512u);
}

TEST_F(BlkTest, WriteInOneDescriptorWithItsHeader_ReachesTheDisk) {
  Start();
  EXPECT_EQ(Do(Header(BlkRequestType::kOut, 1) + std::string(512, 'x')), BlkStatus::kOk);
  EXPECT_EQ(used_.length, 1u);
  EXPECT_EQ(backend_->data()[511], std::byte{0});
  EXPECT_EQ(backend_->data()[512], std::byte{'x'});
  EXPECT_EQ(backend_->data()[1023], std::byte{'x'});
}

TEST_F(BlkTest, ReadWithStatusInTheSameDescriptor_IsAnswered) {
  Start();
  backend_->data()[0] = std::byte{7};
  GuestAddress at;
  DescriptorChainBuilder chain(driver_);
  chain.AppendReadable(Header(BlkRequestType::kIn)).AppendWritable(513, &at);
  driver_.WriteGuest(at, std::vector(513, std::byte{0xff}));  // before the device may look
  chain.Build();
  EXPECT_EQ(AwaitUsed().length, 513u);
  EXPECT_EQ(driver_.ReadGuest(at, 513)[0], std::byte{7});
  EXPECT_EQ(driver_.ReadGuest(at, 513)[512], std::byte{0});
}

TEST_F(BlkTest, ReadOfNothing_Succeeds) {
  Start();
  EXPECT_EQ(Do(Header(BlkRequestType::kIn)), BlkStatus::kOk);
  EXPECT_EQ(used_.length, 1u);
}

TEST_F(BlkTest, Flush_ReachesTheBackend) {
  Start();
  EXPECT_EQ(Do(Header(BlkRequestType::kFlush)), BlkStatus::kOk);
  EXPECT_EQ(backend_->requests().at(0).op, Op::kFlush);
}

TEST_F(BlkTest, WithFlush_WritesAreNotMadeDurableOneByOne) {
  Start();
  EXPECT_EQ(Do(Header(BlkRequestType::kOut) + std::string(512, 'x')), BlkStatus::kOk);
  EXPECT_FALSE(backend_->requests().at(0).durable);
}

TEST_F(BlkTest, WithoutFlush_WritesAreWriteThrough) {
  Start(kBlkFeatureFlush);
  EXPECT_EQ(Do(Header(BlkRequestType::kOut) + std::string(512, 'x')), BlkStatus::kOk);
  EXPECT_EQ(Do(Header(BlkRequestType::kIn), 512), BlkStatus::kOk);
  EXPECT_TRUE(backend_->requests().at(0).durable);
  EXPECT_FALSE(backend_->requests().at(1).durable);
}

TEST_F(BlkTest, GetId_AnswersTheSerialPaddedWithZeros) {
  Start();
  EXPECT_EQ(Do(Header(BlkRequestType::kGetId), 20), BlkStatus::kOk);
  EXPECT_EQ(used_.length, 21u);
  const auto id = driver_.ReadGuest(data_at_, 20);
  EXPECT_EQ(std::memcmp(id.data(), "disk-1\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20), 0);
}

TEST_F(BlkTest, GetIdWithLittleRoom_IsCut) {
  Start();
  EXPECT_EQ(Do(Header(BlkRequestType::kGetId), 4), BlkStatus::kOk);
  EXPECT_EQ(used_.length, 5u);
}

TEST_F(BlkTest, Discard_ReachesTheBackend) {
  Start();
  EXPECT_EQ(Do(Header(BlkRequestType::kDiscard) + Segment(8, 8)), BlkStatus::kOk);
  EXPECT_EQ(backend_->requests().at(0).op, Op::kDiscard);
  EXPECT_EQ(backend_->requests().at(0).offset, 4096u);
  EXPECT_EQ(backend_->requests().at(0).length, 4096u);
}

TEST_F(BlkTest, WriteZeroes_ReachesTheBackend) {
  Start();
  backend_->data()[0] = std::byte{1};
  EXPECT_EQ(Do(Header(BlkRequestType::kWriteZeroes) + Segment(0, 8, 1)), BlkStatus::kOk);
  EXPECT_TRUE(backend_->requests().at(0).may_unmap);
  EXPECT_EQ(backend_->data()[0], std::byte{0});
}

TEST_F(BlkTest, UnknownType_IsUnsupported) {
  Start();
  EXPECT_EQ(Do(Header(static_cast<BlkRequestType>(77))), BlkStatus::kUnsupported);
  EXPECT_EQ(counters_.errors, 1u);
}

TEST_F(BlkTest, ReadPastTheEnd_IsAnErrorThatTheBackendNeverSees) {
  Start();
  EXPECT_EQ(Do(Header(BlkRequestType::kIn, ~std::uint64_t{0}), 512), BlkStatus::kIoError);
  EXPECT_EQ(used_.length, 0u);  // what is before the status was not written
  EXPECT_TRUE(backend_->requests().empty());
}

TEST_F(BlkTest, BackendError_IsTheGuestsError) {
  Start();
  backend_->Fail(Op::kWrite, ENOSPC);
  EXPECT_EQ(Do(Header(BlkRequestType::kOut) + std::string(512, 'x')), BlkStatus::kIoError);
  backend_->Fail(Op::kWrite, 0);
  EXPECT_EQ(Do(Header(BlkRequestType::kOut) + std::string(512, 'x')), BlkStatus::kOk);
}

TEST_F(BlkTest, BackendErrors_AreReportedOnceAndCounted) {
  Start();
  backend_->Fail(Op::kWrite, ENOSPC);
  Do(Header(BlkRequestType::kOut, 2) + std::string(512, 'x'));
  Do(Header(BlkRequestType::kOut, 3) + std::string(512, 'x'));
  Reset();
  EXPECT_EQ(counters_.io_errors, 2u);
  const std::lock_guard lock(mutex_);
  ASSERT_EQ(troubles_.size(), 1u);
  EXPECT_EQ(troubles_[0].what, "write of 512 bytes at 1024: No space left on device");
  EXPECT_EQ(troubles_[0].count, 1u);
}

TEST_F(BlkTest, RequestThatTheGuestGotWrong_IsNotReported) {
  Start();
  Do(Header(BlkRequestType::kIn, ~std::uint64_t{0}), 512);
  Reset();
  EXPECT_EQ(counters_.errors, 1u);
  EXPECT_EQ(counters_.io_errors, 0u);
  const std::lock_guard lock(mutex_);
  EXPECT_TRUE(troubles_.empty());
}

TEST_F(BlkTest, RequestThatWaitedInTheBackend_CountsItsTime) {
  Start();
  backend_->Hold();
  GuestAddress status;
  DescriptorChainBuilder chain(driver_);
  chain.AppendReadable(Header(BlkRequestType::kOut) + std::string(512, 'x'));
  chain.AppendWritable(1, &status);
  chain.Build();
  const std::int64_t before = MonotonicNs();
  kick_.Signal();
  ASSERT_TRUE(backend_->WaitForHeld(1));
  const std::int64_t held = MonotonicNs();
  backend_->Release();
  AwaitUsed();
  const std::int64_t after = MonotonicNs();
  EXPECT_GE(counters_.write_ns, 0u);
  EXPECT_LE(counters_.write_ns, static_cast<std::uint64_t>(after - before));
  EXPECT_GT(after, held);
  EXPECT_EQ(counters_.read_ns, 0u);
}

TEST_F(BlkTest, WriteToAReadOnlyDisk_IsAnErrorThatTheBackendNeverSees) {
  Make({.read_only = true});
  Start();
  EXPECT_EQ(Do(Header(BlkRequestType::kOut) + std::string(512, 'x')), BlkStatus::kIoError);
  EXPECT_EQ(Do(Header(BlkRequestType::kIn), 512), BlkStatus::kOk);
  EXPECT_EQ(backend_->requests().size(), 1u);
}

TEST_F(BlkTest, ReadOnlyDisk_OffersNoWritingFeatures) {
  Make({.read_only = true});
  EXPECT_NE(device_->features() & kBlkFeatureReadOnly, 0u);
  EXPECT_EQ(device_->features() & (kBlkFeatureDiscard | kBlkFeatureWriteZeroes), 0u);
}

TEST_F(BlkTest, NoRoomForAStatus_ComesBackEmpty) {
  Start();
  DescriptorChainBuilder(driver_).AppendReadable(Header(BlkRequestType::kFlush)).Build();
  EXPECT_EQ(AwaitUsed().length, 0u);
  EXPECT_EQ(Do(Header(BlkRequestType::kFlush)), BlkStatus::kOk);
}

TEST_F(BlkTest, CompletionsOutOfOrder_FindTheirChains) {
  Start();
  backend_->Hold();
  std::array<GuestAddress, 3> at;
  std::array<std::uint16_t, 3> heads{};
  for (std::uint64_t i = 0; i < 3; ++i) {
    backend_->data()[i * 512] = static_cast<std::byte>(i + 1);
    heads[i] = DescriptorChainBuilder(driver_)
                   .AppendReadable(Header(BlkRequestType::kIn, i))
                   .AppendWritable(513, &at[i])
                   .Build();
  }
  kick_.Signal();
  ASSERT_TRUE(backend_->WaitForHeld(3));
  backend_->Release(/*reversed=*/true);
  EXPECT_EQ(AwaitUsed().id, heads[2]);
  EXPECT_EQ(AwaitUsed().id, heads[1]);
  EXPECT_EQ(AwaitUsed().id, heads[0]);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(driver_.ReadGuest(at[i], 1)[0], static_cast<std::byte>(i + 1));
}

TEST_F(BlkTest, MoreRequestsThanTheBackendTakes_AllComplete) {
  Make({.depth = 2});
  Start();
  backend_->Hold();
  for (int i = 0; i < 16; ++i)
    DescriptorChainBuilder(driver_)
        .AppendReadable(Header(BlkRequestType::kIn))
        .AppendWritable(513)
        .Build();
  kick_.Signal();
  ASSERT_TRUE(backend_->WaitForHeld(2));
  backend_->Release();
  for (int i = 0; i < 16; ++i) EXPECT_EQ(AwaitUsed().length, 513u);
}

TEST_F(BlkTest, ResetWithARequestInFlight_WaitsForIt) {
  Start();
  backend_->Hold();
  GuestAddress at;
  DescriptorChainBuilder(driver_)
      .AppendReadable(Header(BlkRequestType::kIn))
      .AppendWritable(513, &at)
      .Build();
  kick_.Signal();
  ASSERT_TRUE(backend_->WaitForHeld(1));
  std::future<void> done = StartReset();
  EXPECT_EQ(done.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  backend_->Release();
  ASSERT_EQ(done.wait_for(std::chrono::seconds(10)), std::future_status::ready);
}

TEST_F(BlkTest, StartedAgainAfterAReset_Works) {
  Start();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Do(Header(BlkRequestType::kIn), 512), BlkStatus::kOk);
    Reset();
    ASSERT_TRUE(memory_->Clear());
    driver_ = FakeDriverQueue(*memory_, 64);
    Start();
  }
}

TEST_F(BlkTest, BrokenRing_NeedsResetAndStopsWhileWorkInFlightEnds) {
  Start();
  backend_->Hold();
  DescriptorChainBuilder(driver_)
      .AppendReadable(Header(BlkRequestType::kIn))
      .AppendWritable(513)
      .Build();
  kick_.Signal();
  ASSERT_TRUE(backend_->WaitForHeld(1));
  driver_.Offer(64);  // past the table
  kick_.Signal();
  ASSERT_TRUE(needs_reset_.WaitFor(1));
  backend_->Release();
  EXPECT_EQ(AwaitUsed().length, 513u);
  DescriptorChainBuilder(driver_).AppendReadable(Header(BlkRequestType::kFlush)).Build();
  kick_.Signal();
  Reset();
  EXPECT_EQ(needs_reset_.count(), 1);
  EXPECT_EQ(backend_->requests().size(), 1u);
}

TEST_F(BlkTest, Config_TellsSizeAndTopology) {
  Make({.size = 2 << 20,
        .topology = {.logical_block_size = 512,
                     .physical_block_size = 4096,
                     .optimal_io_size = 65536,
                     .discard_granularity = 4096}});
  std::array<std::byte, 60> config;
  device_->ReadConfig(0, config);
  EXPECT_EQ(LoadLe64(config, 0), 4096u);
  EXPECT_EQ(LoadLe32(config, 12), 126u);
  EXPECT_EQ(LoadLe32(config, 20), 512u);
  EXPECT_EQ(config[24], std::byte{3});
  EXPECT_EQ(LoadLe16(config, 26), 8u);
  EXPECT_EQ(LoadLe32(config, 28), 128u);
  EXPECT_EQ(LoadLe32(config, 40), 1u);
  EXPECT_EQ(LoadLe32(config, 44), 8u);
}

TEST_F(BlkTest, ConfigPastItsEnd_IsZero) {
  Make();
  std::array<std::byte, 8> config;
  config.fill(std::byte{0xff});
  device_->ReadConfig(56, config);
  EXPECT_EQ(config[4], std::byte{0});
  device_->ReadConfig(0xffff'fffc, config);
  EXPECT_EQ(LoadLe64(config), 0u);
}

TEST(CreateBlkTest, SerialTooLong_IsRefusedByValue) {
  const auto device =
      CreateBlk({.name = "blk0",
                 .serial = "123456789012345678901",
                 .backend = std::make_unique<FakeBlockBackend>(FakeBlockBackend::Options{})});
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().message, "serial: 123456789012345678901: 21 bytes, more than 20");
}

}  // namespace
}  // namespace gemel::virtio
