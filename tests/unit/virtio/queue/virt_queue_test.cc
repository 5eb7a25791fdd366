#include "virtio/queue/virt_queue.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/test_memory.h"
#include "virtio/queue/split_ring.h"

namespace gemel::virtio {
namespace {

using ::gemel::testing::DescriptorChainBuilder;
using ::gemel::testing::FakeDriverQueue;
using ::gemel::testing::MakeTestMemory;

constexpr std::uint64_t kRamSize = 1 << 20;

std::string Text(std::span<const iovec> iov) {
  std::string text(IovLength(iov), '\0');
  CopyFromIov(iov, 0, std::as_writable_bytes(std::span(text)));
  return text;
}

class VirtQueueTest : public ::testing::Test {
 protected:
  void Create(std::uint64_t features = 0, std::uint16_t max_segments = 16) {
    auto queue = VirtQueue::Create(*memory_, driver_.layout(), features, max_segments);
    ASSERT_TRUE(queue.has_value()) << queue.error().message;
    queue_ = *std::move(queue);
  }

  DescriptorChain PopOne() {
    auto popped = queue_->Pop();
    CHECK(popped.has_value() && popped->has_value());
    return **std::move(popped);
  }

  void ExpectBroken(QueueError error) {
    const auto popped = queue_->Pop();
    ASSERT_FALSE(popped.has_value());
    EXPECT_EQ(popped.error(), error) << ToString(popped.error());
  }

  // A chain of one 4-byte writable descriptor, offered and completed.
  void Echo() {
    DescriptorChainBuilder(driver_).AppendWritable(4).Build();
    PopOne().Complete(4);
    ASSERT_TRUE(driver_.TakeUsed().has_value());
  }

  static Descriptor Buffer(std::uint16_t flags = 0, std::uint16_t next = 0) {
    return {.address = 0x8000, .length = 16, .flags = flags, .next = next};
  }

  std::unique_ptr<GuestMemory> memory_ = MakeTestMemory(kRamSize);
  FakeDriverQueue driver_{*memory_, 8};
  std::unique_ptr<VirtQueue> queue_;
};

// ---- chains -------------------------------------------------------------------------------------

TEST_F(VirtQueueTest, Pop_NothingOffered_IsEmpty) {
  Create();
  const auto popped = queue_->Pop();
  ASSERT_TRUE(popped.has_value());
  EXPECT_FALSE(popped->has_value());
}

TEST_F(VirtQueueTest, Pop_ReadableAndWritable_GivesBothInOrder) {
  Create();
  DescriptorChainBuilder(driver_)
      .AppendReadable("ques")
      .AppendReadable("tion")
      .AppendWritable(10)
      .AppendWritable(1)
      .Build();

  auto chain = PopOne();

  EXPECT_EQ(Text(chain.readable()), "question");
  ASSERT_EQ(chain.writable().size(), 2u);
  EXPECT_EQ(chain.writable()[0].iov_len, 10u);
  EXPECT_EQ(chain.writable()[1].iov_len, 1u);
}

TEST_F(VirtQueueTest, Complete_WrittenBytes_ReachTheDriver) {
  Create();
  GuestAddress reply;
  const auto head = DescriptorChainBuilder(driver_).AppendWritable(8, &reply).Build();

  auto chain = PopOne();
  const std::string answer = "answer";
  CopyToIov(chain.writable(), 0, std::as_bytes(std::span(answer)));
  std::move(chain).Complete(6);

  const auto used = driver_.TakeUsed();
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->id, head);
  EXPECT_EQ(used->length, 6u);
  EXPECT_EQ(memory_->Read<char>(reply).value(), 'a');
}

TEST_F(VirtQueueTest, Chain_Dropped_ReturnsWithLengthZero) {
  Create();
  const auto head = DescriptorChainBuilder(driver_).AppendWritable(8).Build();
  {
    auto chain = PopOne();
  }
  const auto used = driver_.TakeUsed();
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->id, head);
  EXPECT_EQ(used->length, 0u);
  EXPECT_EQ(queue_->in_flight(), 0);
}

TEST_F(VirtQueueTest, Chain_AssignedOver_ReturnsTheOldOneOnly) {
  Create();
  const auto first = DescriptorChainBuilder(driver_).AppendWritable(8).Build();
  DescriptorChainBuilder(driver_).AppendWritable(8).Build();
  auto chain = PopOne();
  chain = PopOne();
  EXPECT_EQ(driver_.TakeUsed()->id, first);
  EXPECT_FALSE(driver_.TakeUsed().has_value());
  EXPECT_EQ(queue_->in_flight(), 1);
}

TEST_F(VirtQueueTest, Complete_OutOfOrder_ReturnsEachHead) {
  Create();
  const auto first = DescriptorChainBuilder(driver_).AppendWritable(8).Build();
  const auto second = DescriptorChainBuilder(driver_).AppendWritable(8).Build();
  auto one = PopOne();
  auto two = PopOne();
  std::move(two).Complete(2);
  std::move(one).Complete(1);
  EXPECT_EQ(driver_.TakeUsed()->id, second);
  EXPECT_EQ(driver_.TakeUsed()->id, first);
}

TEST_F(VirtQueueTest, Pop_OtherChainsCompleted_LeavesSegmentsOfThoseInFlight) {
  Create();
  DescriptorChainBuilder(driver_).AppendReadable("stays").Build();
  auto stays = PopOne();
  for (int i = 0; i < 20; ++i) Echo();
  EXPECT_EQ(Text(stays.readable()), "stays");
}

TEST_F(VirtQueueTest, Pop_ZeroLengthDescriptors_GiveNoSegments) {
  Create();
  DescriptorChainBuilder(driver_)
      .AppendRaw(GuestAddress{0xffff'ffff'ffff'fff0}, 0, 0)
      .AppendReadable("x")
      .AppendRaw(GuestAddress{0}, 0, kDescriptorWrite)
      .Build();
  const auto chain = PopOne();
  EXPECT_EQ(Text(chain.readable()), "x");
  EXPECT_TRUE(chain.writable().empty());
}

TEST_F(VirtQueueTest, Pop_BufferAcrossAdjacentRegions_GivesTwoSegments) {
  const std::array ranges{MemoryRange{GuestAddress{0}, 0x10000},
                          MemoryRange{GuestAddress{0x10000}, 0x10000}};
  const auto memory = GuestMemory::Create(ranges, MemoryBacking::kAnonymous).value();
  FakeDriverQueue driver(*memory, 4);
  const auto queue = VirtQueue::Create(*memory, driver.layout(), 0, 4).value();
  DescriptorChainBuilder(driver).AppendRaw(GuestAddress{0xfff0}, 0x20, 0).Build();
  const auto popped = queue->Pop();
  ASSERT_TRUE(popped.has_value() && popped->has_value());
  EXPECT_EQ((*popped)->readable().size(), 2u);
}

TEST_F(VirtQueueTest, RingIndices_WrapThrough16Bits) {
  Create();
  for (int i = 0; i < 65536 + 100; ++i) ASSERT_NO_FATAL_FAILURE(Echo());
  EXPECT_EQ(driver_.used_index(), 100);
}

TEST_F(VirtQueueTest, Pop_WholeQueueOffered_AllInFlight) {
  Create();
  for (int i = 0; i < 8; ++i) DescriptorChainBuilder(driver_).AppendWritable(4).Build();
  std::vector<DescriptorChain> chains;
  for (int i = 0; i < 8; ++i) chains.push_back(PopOne());
  EXPECT_EQ(queue_->in_flight(), 8);
  const auto popped = queue_->Pop();
  ASSERT_TRUE(popped.has_value());
  EXPECT_FALSE(popped->has_value());
}

// ---- rings that break the rules -----------------------------------------------------------------

TEST_F(VirtQueueTest, AvailIndex_FurtherAheadThanTheQueueIsLong_Breaks) {
  Create();
  driver_.SetAvailIndex(9);
  ExpectBroken(QueueError::kBadAvailIndex);
}

TEST_F(VirtQueueTest, AvailIndex_GoesBack_Breaks) {
  Create();
  Echo();
  driver_.SetAvailIndex(0);
  ExpectBroken(QueueError::kBadAvailIndex);
}

TEST_F(VirtQueueTest, Head_PastTheTable_Breaks) {
  Create();
  driver_.Offer(8);
  ExpectBroken(QueueError::kBadDescriptor);
}

TEST_F(VirtQueueTest, Head_InFlight_BreaksAndLeavesTheChainAlone) {
  Create();
  const auto head = DescriptorChainBuilder(driver_).AppendReadable("first").Build();
  auto chain = PopOne();
  driver_.SetDescriptor(head, Buffer());
  driver_.Offer(head);

  ExpectBroken(QueueError::kBadDescriptor);

  EXPECT_EQ(Text(chain.readable()), "first");
  std::move(chain).Complete(0);
  EXPECT_EQ(driver_.TakeUsed()->id, head);
}

TEST_F(VirtQueueTest, Head_OfferedAgainAfterCompletion_IsFine) {
  Create();
  driver_.SetDescriptor(3, Buffer());
  driver_.Offer(3);
  PopOne().Complete(0);
  driver_.Offer(3);
  PopOne().Complete(0);
}

TEST_F(VirtQueueTest, Next_PastTheTable_Breaks) {
  Create();
  driver_.SetDescriptor(0, Buffer(kDescriptorNext, 8));
  driver_.Offer(0);
  ExpectBroken(QueueError::kBadDescriptor);
}

TEST_F(VirtQueueTest, Next_MakesALoop_Breaks) {
  Create();
  driver_.SetDescriptor(0, Buffer(kDescriptorNext, 1));
  driver_.SetDescriptor(1, Buffer(kDescriptorNext, 0));
  driver_.Offer(0);
  ExpectBroken(QueueError::kTooLong);
}

TEST_F(VirtQueueTest, Next_MakesALoopOfEmptyDescriptors_Breaks) {
  Create();
  driver_.SetDescriptor(5, {.address = 0, .length = 0, .flags = kDescriptorNext, .next = 5});
  driver_.Offer(5);
  ExpectBroken(QueueError::kTooLong);
}

TEST_F(VirtQueueTest, Chain_OfTheWholeTable_IsFine) {
  Create();
  DescriptorChainBuilder builder(driver_);
  for (int i = 0; i < 8; ++i) builder.AppendReadable("x");
  builder.Build();
  EXPECT_EQ(PopOne().readable().size(), 8u);
}

TEST_F(VirtQueueTest, Chain_OfMaxSegments_IsFine) {
  Create(0, 2);
  DescriptorChainBuilder(driver_).AppendReadable("a").AppendWritable(1).Build();
  PopOne().Complete(1);
}

TEST_F(VirtQueueTest, Chain_OfMoreThanMaxSegments_Breaks) {
  Create(0, 2);
  DescriptorChainBuilder(driver_).AppendReadable("a").AppendReadable("b").AppendWritable(1).Build();
  ExpectBroken(QueueError::kTooLong);
}

TEST_F(VirtQueueTest, Chain_OfFourGigabytes_Breaks) {
  auto memory = MakeTestMemory(std::uint64_t{3} << 30);
  FakeDriverQueue driver(*memory, 8);
  const auto queue = VirtQueue::Create(*memory, driver.layout(), 0, 8).value();
  DescriptorChainBuilder(driver)
      .AppendRaw(GuestAddress{0}, 0x8000'0000, 0)
      .AppendRaw(GuestAddress{0}, 0x8000'0000, 0)
      .Build();
  const auto popped = queue->Pop();
  ASSERT_FALSE(popped.has_value());
  EXPECT_EQ(popped.error(), QueueError::kTooLong);
}

TEST_F(VirtQueueTest, Order_ReadableAfterWritable_Breaks) {
  Create();
  DescriptorChainBuilder(driver_).AppendWritable(4).AppendReadable("late").Build();
  ExpectBroken(QueueError::kBadOrder);
}

TEST_F(VirtQueueTest, Buffer_OutsideRam_Breaks) {
  Create();
  DescriptorChainBuilder(driver_).AppendRaw(GuestAddress{kRamSize}, 1, 0).Build();
  ExpectBroken(QueueError::kBadBuffer);
}

TEST_F(VirtQueueTest, Buffer_RunningOutOfRam_Breaks) {
  Create();
  DescriptorChainBuilder(driver_)
      .AppendRaw(GuestAddress{kRamSize - 1}, 2, kDescriptorWrite)
      .Build();
  ExpectBroken(QueueError::kBadBuffer);
}

TEST_F(VirtQueueTest, Buffer_WrappingAroundTheAddressSpace_Breaks) {
  Create();
  DescriptorChainBuilder(driver_).AppendRaw(GuestAddress{0xffff'ffff'ffff'ffff}, 0x1002, 0).Build();
  ExpectBroken(QueueError::kBadBuffer);
}

TEST_F(VirtQueueTest, Error_Once_IsForEver) {
  Create();
  driver_.Offer(8);
  ExpectBroken(QueueError::kBadDescriptor);
  driver_.SetAvailIndex(0);
  ExpectBroken(QueueError::kBadDescriptor);
  EXPECT_FALSE(queue_->EnableNotification());
}

// ---- indirect tables ----------------------------------------------------------------------------

TEST_F(VirtQueueTest, Indirect_Table_IsWalked) {
  Create(kFeatureIndirectDesc);
  DescriptorChainBuilder(driver_)
      .Indirect()
      .AppendReadable("in")
      .AppendReadable("direct")
      .AppendWritable(3)
      .Build();
  const auto chain = PopOne();
  EXPECT_EQ(Text(chain.readable()), "indirect");
  EXPECT_EQ(IovLength(chain.writable()), 3u);
}

TEST_F(VirtQueueTest, Indirect_AfterDirectDescriptors_IsWalked) {
  Create(kFeatureIndirectDesc);
  DescriptorChainBuilder(driver_)
      .AppendReadable("a")
      .AppendReadable("b")
      .Indirect()
      .AppendReadable("c")
      .Build();
  EXPECT_EQ(Text(PopOne().readable()), "abc");
}

class IndirectTest : public VirtQueueTest {
 protected:
  // Offers one descriptor that refers to a table of `descriptors` at `table_`.
  void OfferTable(std::span<const Descriptor> descriptors, std::uint32_t length,
                  std::uint16_t extra_flags = 0) {
    driver_.WriteGuest(table_, std::as_bytes(descriptors));
    driver_.SetDescriptor(0,
                          {.address = table_.value,
                           .length = length,
                           .flags = static_cast<std::uint16_t>(kDescriptorIndirect | extra_flags),
                           .next = 1});
    driver_.SetDescriptor(1, Buffer());
    driver_.Offer(0);
  }
  GuestAddress table_{0x9000};
};

TEST_F(IndirectTest, NotNegotiated_Breaks) {
  Create();
  OfferTable(std::array{Buffer()}, 16);
  ExpectBroken(QueueError::kBadIndirect);
}

TEST_F(IndirectTest, LengthZero_Breaks) {
  Create(kFeatureIndirectDesc);
  OfferTable(std::array{Buffer()}, 0);
  ExpectBroken(QueueError::kBadIndirect);
}

TEST_F(IndirectTest, LengthNotAMultipleOf16_Breaks) {
  Create(kFeatureIndirectDesc);
  OfferTable(std::array{Buffer(), Buffer()}, 24);
  ExpectBroken(QueueError::kBadIndirect);
}

TEST_F(IndirectTest, LongerThanTheQueue_Breaks) {
  Create(kFeatureIndirectDesc);
  OfferTable(std::array{Buffer()}, 16 * 9);
  ExpectBroken(QueueError::kBadIndirect);
}

TEST_F(IndirectTest, TableOutsideRam_Breaks) {
  Create(kFeatureIndirectDesc);
  driver_.SetDescriptor(
      0, {.address = kRamSize - 16, .length = 32, .flags = kDescriptorIndirect, .next = 0});
  driver_.Offer(0);
  ExpectBroken(QueueError::kBadIndirect);
}

TEST_F(IndirectTest, Nested_Breaks) {
  Create(kFeatureIndirectDesc);
  OfferTable(std::array{Buffer(kDescriptorIndirect)}, 16);
  ExpectBroken(QueueError::kBadIndirect);
}

TEST_F(IndirectTest, TogetherWithNext_Breaks) {
  Create(kFeatureIndirectDesc);
  OfferTable(std::array{Buffer()}, 16, kDescriptorNext);
  ExpectBroken(QueueError::kBadIndirect);
}

TEST_F(IndirectTest, OwnWriteFlag_IsIgnored) {
  Create(kFeatureIndirectDesc);
  OfferTable(std::array{Buffer()}, 16, kDescriptorWrite);
  EXPECT_EQ(PopOne().readable().size(), 1u);
}

TEST_F(IndirectTest, NextPastTheTable_Breaks) {
  Create(kFeatureIndirectDesc);
  OfferTable(std::array{Buffer(kDescriptorNext, 2), Buffer()}, 32);
  ExpectBroken(QueueError::kBadDescriptor);
}

TEST_F(IndirectTest, Loop_Breaks) {
  Create(kFeatureIndirectDesc);
  OfferTable(std::array{Buffer(kDescriptorNext, 1), Buffer(kDescriptorNext, 0)}, 32);
  ExpectBroken(QueueError::kTooLong);
}

TEST_F(IndirectTest, UnalignedTable_IsWalked) {
  Create(kFeatureIndirectDesc);
  table_ = GuestAddress{0x9003};
  OfferTable(std::array{Buffer(kDescriptorNext, 1), Buffer(kDescriptorWrite)}, 32);
  const auto chain = PopOne();
  EXPECT_EQ(IovLength(chain.readable()), 16u);
  EXPECT_EQ(IovLength(chain.writable()), 16u);
}

// ---- interrupts ---------------------------------------------------------------------------------

TEST_F(VirtQueueTest, NeedsInterrupt_NothingCompleted_IsFalse) {
  Create();
  EXPECT_FALSE(queue_->NeedsInterrupt());
}

TEST_F(VirtQueueTest, NeedsInterrupt_Completed_IsTrueOnce) {
  Create();
  Echo();
  EXPECT_TRUE(queue_->NeedsInterrupt());
  EXPECT_FALSE(queue_->NeedsInterrupt());
}

TEST_F(VirtQueueTest, NeedsInterrupt_DriverWantsNone_IsFalse) {
  Create();
  driver_.SetAvailFlags(kAvailNoInterrupt);
  Echo();
  EXPECT_FALSE(queue_->NeedsInterrupt());
}

TEST_F(VirtQueueTest, NeedsInterrupt_EventIdx_OnlyWhenTheEventIsPassed) {
  Create(kFeatureEventIdx);
  driver_.SetUsedEvent(2);
  Echo();
  EXPECT_FALSE(queue_->NeedsInterrupt());
  Echo();
  EXPECT_FALSE(queue_->NeedsInterrupt());
  Echo();
  EXPECT_TRUE(queue_->NeedsInterrupt());
  Echo();
  EXPECT_FALSE(queue_->NeedsInterrupt());
}

TEST_F(VirtQueueTest, NeedsInterrupt_EventIdx_IgnoresTheFlag) {
  Create(kFeatureEventIdx);
  driver_.SetAvailFlags(kAvailNoInterrupt);
  driver_.SetUsedEvent(0);
  Echo();
  EXPECT_TRUE(queue_->NeedsInterrupt());
}

TEST_F(VirtQueueTest, NeedsInterrupt_EventIdx_AcrossTheWrap) {
  Create(kFeatureEventIdx);
  for (int i = 0; i < 65534; ++i) Echo();
  queue_->NeedsInterrupt();
  driver_.SetUsedEvent(0);
  Echo();
  Echo();
  EXPECT_FALSE(queue_->NeedsInterrupt());  // published 0xfffe and 0xffff
  Echo();
  EXPECT_TRUE(queue_->NeedsInterrupt());  // published 0
}

TEST_F(VirtQueueTest, NeedsInterrupt_EventIdx_WholeTurnWithoutAsking_IsTrue) {
  Create(kFeatureEventIdx);
  driver_.SetUsedEvent(0x4000);
  for (int i = 0; i < 65536; ++i) Echo();
  EXPECT_TRUE(queue_->NeedsInterrupt());
}

// ---- notifications ------------------------------------------------------------------------------

TEST_F(VirtQueueTest, Notification_WithoutEventIdx_IsTheFlag) {
  Create();
  queue_->DisableNotification();
  EXPECT_EQ(driver_.used_flags(), kUsedNoNotify);
  EXPECT_FALSE(queue_->EnableNotification());
  EXPECT_EQ(driver_.used_flags(), 0);
}

TEST_F(VirtQueueTest, Notification_EventIdx_DriverKicksForTheNextOnly) {
  Create(kFeatureEventIdx);
  EXPECT_FALSE(queue_->EnableNotification());
  DescriptorChainBuilder(driver_).AppendWritable(4).Build();
  EXPECT_TRUE(driver_.ShouldKick(true));
  queue_->DisableNotification();
  PopOne().Complete(0);
  DescriptorChainBuilder(driver_).AppendWritable(4).Build();
  EXPECT_FALSE(driver_.ShouldKick(true));
  EXPECT_EQ(driver_.used_flags(), 0);  // 2.7.10.1: stays 0 with event index
}

class NotificationTest : public VirtQueueTest,
                         public ::testing::WithParamInterface<std::uint64_t> {};

TEST_P(NotificationTest, ChainOfferedMeanwhile_EnableSaysSo) {
  Create(GetParam());
  queue_->DisableNotification();
  DescriptorChainBuilder(driver_).AppendWritable(4).Build();
  EXPECT_TRUE(queue_->EnableNotification());
  PopOne().Complete(0);
  EXPECT_FALSE(queue_->EnableNotification());
}

// Both sides sleep unless notified: a lost notification hangs the test.
TEST_P(NotificationTest, DriverAndDeviceOnTwoThreads_NoneIsLost) {
  constexpr int kChains = 20'000;
  const bool event_idx = GetParam() == kFeatureEventIdx;
  Create(GetParam());
  std::atomic<std::uint32_t> kicks{0}, interrupts{0};
  queue_->EnableNotification();

  std::jthread device([&] {
    int done = 0;
    std::uint32_t seen = 0;
    while (done < kChains) {
      kicks.wait(seen);
      seen = kicks.load();
      do {
        queue_->DisableNotification();
        for (auto popped = queue_->Pop(); popped.value().has_value(); popped = queue_->Pop()) {
          (**std::move(popped)).Complete(4);
          ++done;
        }
      } while (queue_->EnableNotification());
      if (!queue_->NeedsInterrupt()) continue;
      ++interrupts;
      interrupts.notify_one();
    }
  });

  int taken = 0, offered = 0;
  std::uint32_t seen = 0;
  while (taken < kChains) {
    while (offered < kChains && driver_.free_descriptors() > 0) {
      DescriptorChainBuilder(driver_).AppendWritable(4).Build();
      ++offered;
    }
    if (driver_.ShouldKick(event_idx)) {
      ++kicks;
      kicks.notify_one();
    }
    if (event_idx) driver_.SetUsedEvent(static_cast<std::uint16_t>(taken));
    driver_.ShouldKick(event_idx);  // for its fence, between asking and looking
    seen = interrupts.load();
    const int before = taken;
    while (driver_.TakeUsed().has_value()) ++taken;
    if (taken == before) interrupts.wait(seen);
  }
  EXPECT_EQ(taken, kChains);
}
INSTANTIATE_TEST_SUITE_P(Features, NotificationTest, ::testing::Values(0, kFeatureEventIdx));

// ---- Create -------------------------------------------------------------------------------------

class CreateTest : public VirtQueueTest {
 protected:
  std::string Refusal(QueueLayout layout) {
    const auto queue = VirtQueue::Create(*memory_, layout, 0, 4);
    return queue.has_value() ? "" : queue.error().message;
  }
};

TEST_F(CreateTest, SizeNotAPowerOfTwo_NamesIt) {
  QueueLayout layout = driver_.layout();
  layout.size = 7;
  EXPECT_NE(Refusal(layout).find("queue size 7 "), std::string::npos);
  layout.size = 0;
  EXPECT_NE(Refusal(layout).find("queue size 0 "), std::string::npos);
}

TEST_F(CreateTest, MisalignedParts_AreNamed) {
  QueueLayout layout = driver_.layout();
  layout.descriptors.value += 8;
  EXPECT_NE(Refusal(layout).find("descriptor table"), std::string::npos);
  layout = driver_.layout();
  layout.driver_ring.value += 1;
  EXPECT_NE(Refusal(layout).find("driver ring"), std::string::npos);
  layout = driver_.layout();
  layout.device_ring.value += 2;
  EXPECT_NE(Refusal(layout).find("device ring"), std::string::npos);
}

TEST_F(CreateTest, PartsOutsideRam_AreNamed) {
  QueueLayout layout = driver_.layout();
  layout.descriptors.value = kRamSize - 16;
  EXPECT_NE(Refusal(layout).find("descriptor table at 0xffff0"), std::string::npos);
  layout = driver_.layout();
  layout.driver_ring.value = kRamSize - 2;
  EXPECT_NE(Refusal(layout).find("driver ring"), std::string::npos);
  layout = driver_.layout();
  layout.device_ring.value = 0xffff'ffff'ffff'fffc;
  EXPECT_NE(Refusal(layout).find("device ring"), std::string::npos);
}

TEST_F(CreateTest, DeviceRingAtTheVeryEndOfRam_IsFine) {
  QueueLayout layout = driver_.layout();
  layout.device_ring.value = (kRamSize - (6 + 8 * 8)) / 4 * 4;
  EXPECT_EQ(Refusal(layout), "");
}

// ---- copies -------------------------------------------------------------------------------------

TEST(IovTest, Copies_SkipAndCrossSegments) {
  std::string a = "abc", b = "", c = "defgh";
  const std::array iov{iovec{a.data(), 3}, iovec{b.data(), 0}, iovec{c.data(), 5}};
  std::array<char, 4> out{};
  EXPECT_EQ(CopyFromIov(iov, 2, std::as_writable_bytes(std::span(out))), 4u);
  EXPECT_EQ(std::string_view(out.data(), 4), "cdef");
  EXPECT_EQ(CopyFromIov(iov, 6, std::as_writable_bytes(std::span(out))), 2u);
  EXPECT_EQ(CopyFromIov(iov, 9, std::as_writable_bytes(std::span(out))), 0u);

  const std::string in = "XYZ";
  EXPECT_EQ(CopyToIov(iov, 2, std::as_bytes(std::span(in))), 3u);
  EXPECT_EQ(a + c, "abXYZfgh");
  EXPECT_EQ(CopyToIov(iov, 7, std::as_bytes(std::span(in))), 1u);
}

TEST(IovTest, Copies_LongAndUnaligned_AreWhole) {
  std::string from(1001, '\0');
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<char>(i * 7);
  const std::array iov{iovec{from.data() + 1, 1000}};
  std::string to(1000, '\0');
  EXPECT_EQ(CopyFromIov(iov, 0, std::as_writable_bytes(std::span(to))), 1000u);
  EXPECT_EQ(to, from.substr(1));
}

}  // namespace
}  // namespace gemel::virtio
