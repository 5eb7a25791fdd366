#include "virtio/transport/mmio_transport.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <optional>
#include <thread>

#include "tests/fakes/fake_device.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/fake_io_event_registrar.h"
#include "tests/fakes/fake_mmio_driver.h"
#include "tests/fakes/test_memory.h"
#include "virtio/transport/mmio_registers.h"

namespace gemel::virtio {
namespace {

using testing::DescriptorChainBuilder;
using testing::FakeDevice;
using testing::FakeDriverQueue;
using testing::FakeInterrupt;
using testing::FakeIoEventRegistrar;
using testing::FakeMmioDriver;
using testing::MakeTestMemory;

constexpr std::uint64_t kBase = 0xd000'0000;
constexpr std::uint64_t kNotifyAddress = kBase + mmio::kQueueNotify;

class MmioTest : public ::testing::Test {
 protected:
  MmioTest() {
    auto device = std::make_unique<FakeDevice>();
    device_ = device.get();
    auto transport = MmioTransport::Create({.memory = memory_.get(),
                                            .io_events = &io_events_,
                                            .base = kBase,
                                            .line = &line_,
                                            .name = "fake0"},
                                           std::move(device));
    CHECK(transport.has_value());
    transport_ = *std::move(transport);
    driver_.emplace(*transport_);
  }
  ~MmioTest() override {
    if (transport_ == nullptr) return;
    device_->hold_reset = false;
    if (device_->resetting()) device_->FinishReset();
  }

  void Start() {
    driver_->Start(kFeatureVersion1 | kFeatureEventIdx, queue_.layout());
    ASSERT_TRUE(device_->activation.has_value());
  }

  std::unique_ptr<GuestMemory> memory_ = MakeTestMemory();
  FakeDriverQueue queue_{*memory_, 8};
  FakeInterrupt line_;
  FakeIoEventRegistrar io_events_;
  FakeDevice* device_ = nullptr;  // the transport's
  std::unique_ptr<MmioTransport> transport_;
  std::optional<FakeMmioDriver> driver_;
};

// ---- identity -----------------------------------------------------------------------------------

TEST_F(MmioTest, Identity_IsVersion2) {
  EXPECT_EQ(driver_->Read(mmio::kMagicValue), 0x74726976u);
  EXPECT_EQ(driver_->Read(mmio::kVersionRegister), 2u);
  EXPECT_EQ(driver_->Read(mmio::kDeviceId), 4u);
  EXPECT_EQ(driver_->Read(mmio::kVendorId), mmio::kVendor);
}

TEST_F(MmioTest, SharedMemory_EveryRegion_IsAbsent) {
  driver_->Write(mmio::kShmSel, 0);
  EXPECT_EQ(driver_->Read(mmio::kShmLenLow), 0xffff'ffffu);
  EXPECT_EQ(driver_->Read(mmio::kShmLenHigh), 0xffff'ffffu);
}

TEST_F(MmioTest, Registers_OtherWidthsAndPlaces_ReadZeroAndIgnoreWrites) {
  std::array<std::byte, 8> wide;
  wide.fill(std::byte{0xaa});
  transport_->Read(mmio::kMagicValue, wide);
  EXPECT_EQ(LoadLe64(wide), 0u);
  transport_->Read(mmio::kMagicValue, std::span(wide).first(1));
  EXPECT_EQ(wide[0], std::byte{0});
  const std::array one{std::byte{1}};
  transport_->Write(mmio::kStatus, one);
  EXPECT_EQ(driver_->status(), 0u);
  EXPECT_EQ(driver_->Read(0x0c8), 0u);
}

// ---- negotiation --------------------------------------------------------------------------------

TEST_F(MmioTest, Features_AreTheDevicesAndTheTransports) {
  EXPECT_EQ(driver_->DeviceFeatures(),
            FakeDevice::kFeatures | kFeatureVersion1 | kFeatureEventIdx | kFeatureIndirectDesc);
  driver_->Write(mmio::kDeviceFeaturesSel, 2);
  EXPECT_EQ(driver_->Read(mmio::kDeviceFeatures), 0u);
}

TEST_F(MmioTest, FeaturesOk_Subset_IsAccepted) {
  EXPECT_TRUE(driver_->Negotiate(kFeatureVersion1 | 1));
}

TEST_F(MmioTest, FeaturesOk_BitNotOffered_IsRefused) {
  EXPECT_FALSE(driver_->Negotiate(kFeatureVersion1 | 2));
  EXPECT_EQ(driver_->status(), kStatusAcknowledge | kStatusDriver);
}

TEST_F(MmioTest, FeaturesOk_WithoutVersion1_IsRefused) { EXPECT_FALSE(driver_->Negotiate(1)); }

TEST_F(MmioTest, FeaturesOk_BitPast63_IsRefused) {
  driver_->Write(mmio::kDriverFeaturesSel, 2);
  driver_->SetStatus(kStatusAcknowledge);
  driver_->SetStatus(kStatusDriver);
  driver_->WriteFeatures(kFeatureVersion1);
  driver_->Write(mmio::kDriverFeaturesSel, 2);
  driver_->Write(mmio::kDriverFeatures, 1);
  driver_->SetStatus(kStatusFeaturesOk);
  EXPECT_EQ(driver_->status() & kStatusFeaturesOk, 0u);
}

TEST_F(MmioTest, FeaturesOk_CorrectedAfterARefusal_IsAccepted) {
  driver_->Negotiate(kFeatureVersion1 | 2);
  driver_->WriteFeatures(kFeatureVersion1);
  driver_->SetStatus(kStatusFeaturesOk);
  EXPECT_NE(driver_->status() & kStatusFeaturesOk, 0u);
}

TEST_F(MmioTest, DriverFeatures_AfterFeaturesOk_AreIgnored) {
  driver_->Negotiate(kFeatureVersion1);
  driver_->WriteFeatures(kFeatureVersion1 | kFeatureEventIdx | 2);
  driver_->SetUpQueue(0, queue_.layout());
  driver_->SetStatus(kStatusDriverOk);
  ASSERT_TRUE(device_->activation.has_value());
  EXPECT_EQ(device_->activation->features, kFeatureVersion1);
}

// ---- illegal orders -----------------------------------------------------------------------------

TEST_F(MmioTest, Status_DriverBeforeAcknowledge_IsIgnored) {
  driver_->SetStatus(kStatusDriver);
  EXPECT_EQ(driver_->status(), 0u);
}

TEST_F(MmioTest, Status_FeaturesOkBeforeDriver_IsIgnored) {
  driver_->SetStatus(kStatusAcknowledge);
  driver_->WriteFeatures(kFeatureVersion1);
  driver_->SetStatus(kStatusFeaturesOk);
  EXPECT_EQ(driver_->status(), kStatusAcknowledge);
}

TEST_F(MmioTest, Status_DriverOkBeforeFeaturesOk_IsIgnored) {
  driver_->SetStatus(kStatusAcknowledge);
  driver_->SetStatus(kStatusDriver);
  driver_->SetStatus(kStatusDriverOk);
  EXPECT_EQ(driver_->status(), kStatusAcknowledge | kStatusDriver);
  EXPECT_EQ(device_->activations, 0);
}

TEST_F(MmioTest, Status_DriverOkAfterFailed_DoesNotActivate) {
  driver_->Negotiate(kFeatureVersion1);
  driver_->SetStatus(kStatusFailed);
  driver_->SetStatus(kStatusDriverOk);
  EXPECT_EQ(device_->activations, 0);
}

TEST_F(MmioTest, Status_ClearingABit_IsIgnored) {
  driver_->Negotiate(kFeatureVersion1);
  driver_->Write(mmio::kStatus, kStatusAcknowledge);
  EXPECT_EQ(driver_->status(), kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk);
}

TEST_F(MmioTest, Status_NeedsResetWrittenByTheDriver_IsIgnored) {
  driver_->SetStatus(kStatusAcknowledge | kStatusNeedsReset);
  EXPECT_EQ(driver_->status(), kStatusAcknowledge);
}

TEST_F(MmioTest, Status_DriverOkTwice_ActivatesOnce) {
  Start();
  driver_->SetStatus(kStatusDriverOk);
  EXPECT_EQ(device_->activations, 1);
}

TEST_F(MmioTest, Status_BitsPastTheEighth_DoNotReset) {
  Start();
  driver_->Write(mmio::kStatus, 0x100);
  EXPECT_EQ(device_->resets, 0);
}

TEST_F(MmioTest, QueueRegisters_BeforeFeaturesOk_AreIgnored) {
  driver_->SetUpQueue(0, queue_.layout());
  EXPECT_EQ(driver_->Read(mmio::kQueueReady), 0u);
}

TEST_F(MmioTest, QueueRegisters_WhileReady_AreIgnored) {
  driver_->Negotiate(kFeatureVersion1);
  driver_->SetUpQueue(0, queue_.layout());
  driver_->Write(mmio::kQueueNum, 3);
  driver_->Write(mmio::kQueueDescLow, 1);
  driver_->SetStatus(kStatusDriverOk);
  EXPECT_EQ(driver_->status() & kStatusNeedsReset, 0u);
  EXPECT_EQ(device_->activation->queues.at(0).queue->size(), 8);
}

TEST_F(MmioTest, QueueRegisters_AfterDriverOk_AreIgnored) {
  Start();
  driver_->Write(mmio::kQueueReady, 0);
  EXPECT_EQ(driver_->Read(mmio::kQueueReady), 1u);
}

TEST_F(MmioTest, QueueRegisters_OfAQueueThatDoesNotExist_ReadZero) {
  driver_->Negotiate(kFeatureVersion1);
  driver_->SetUpQueue(2, queue_.layout());
  EXPECT_EQ(driver_->Read(mmio::kQueueNumMax), 0u);
  EXPECT_EQ(driver_->Read(mmio::kQueueReady), 0u);
  driver_->Write(mmio::kQueueSel, 0xffff'ffff);
  EXPECT_EQ(driver_->Read(mmio::kQueueNumMax), 0u);
}

TEST_F(MmioTest, QueueNumMax_IsTheDevices) {
  driver_->Write(mmio::kQueueSel, 1);
  EXPECT_EQ(driver_->Read(mmio::kQueueNumMax), 4u);
}

// ---- activation ---------------------------------------------------------------------------------

TEST_F(MmioTest, DriverOk_ActivatesTheQueuesThatAreReady) {
  Start();
  ASSERT_EQ(device_->activation->queues.size(), 1u);
  EXPECT_EQ(device_->activation->queues[0].index, 0);
  EXPECT_EQ(device_->activation->queues[0].queue->size(), 8);
  EXPECT_EQ(device_->activation->features, kFeatureVersion1 | kFeatureEventIdx);
}

TEST_F(MmioTest, DriverOk_BadQueueSize_NeedsResetAndInterrupts) {
  driver_->Negotiate(kFeatureVersion1);
  QueueLayout layout = queue_.layout();
  for (const std::uint16_t size : std::to_array<std::uint16_t>({0, 5, 32})) {
    layout.size = size;
    driver_->Negotiate(kFeatureVersion1);
    driver_->SetUpQueue(0, layout);
    driver_->SetStatus(kStatusDriverOk);
    EXPECT_NE(driver_->status() & kStatusNeedsReset, 0u) << size;
    EXPECT_EQ(driver_->Read(mmio::kInterruptStatus), mmio::kInterruptConfig);
  }
  EXPECT_EQ(device_->activations, 0);
}

TEST_F(MmioTest, DriverOk_QueueSizeWithHighBits_IsNotCut) {
  driver_->Negotiate(kFeatureVersion1);
  driver_->Write(mmio::kQueueNum, 0x10008);
  driver_->Write(mmio::kQueueReady, 1);
  driver_->SetStatus(kStatusDriverOk);
  EXPECT_NE(driver_->status() & kStatusNeedsReset, 0u);
}

TEST_F(MmioTest, DriverOk_RingsOutsideRam_NeedsResetAndInterrupts) {
  driver_->Negotiate(kFeatureVersion1);
  QueueLayout layout = queue_.layout();
  layout.device_ring.value = 0x1'0000'0000;
  driver_->SetUpQueue(0, layout);
  driver_->SetStatus(kStatusDriverOk);
  EXPECT_NE(driver_->status() & kStatusNeedsReset, 0u);
  EXPECT_EQ(line_.count(), 1);
}

TEST_F(MmioTest, DriverOk_DeviceRefuses_NeedsReset) {
  device_->refuse_activation = true;
  driver_->Start(kFeatureVersion1, queue_.layout());
  EXPECT_NE(driver_->status() & kStatusNeedsReset, 0u);
  device_->refuse_activation = false;
  Start();
  EXPECT_EQ(driver_->status() & kStatusNeedsReset, 0u);
}

// ---- interrupts and kicks -----------------------------------------------------------------------

TEST_F(MmioTest, QueueInterrupt_SetsItsBitUntilAcknowledged) {
  Start();
  device_->activation->queues[0].interrupt->Trigger();
  EXPECT_EQ(line_.count(), 1);
  EXPECT_EQ(driver_->Read(mmio::kInterruptStatus), mmio::kInterruptQueue);
  driver_->Write(mmio::kInterruptAck, mmio::kInterruptConfig);
  EXPECT_EQ(driver_->Read(mmio::kInterruptStatus), mmio::kInterruptQueue);
  driver_->Write(mmio::kInterruptAck, mmio::kInterruptQueue);
  EXPECT_EQ(driver_->Read(mmio::kInterruptStatus), 0u);
}

TEST_F(MmioTest, NeedsReset_ByTheDevice_ShowsAndInterrupts) {
  Start();
  device_->activation->needs_reset();
  EXPECT_NE(driver_->status() & kStatusNeedsReset, 0u);
  EXPECT_EQ(driver_->Read(mmio::kInterruptStatus), mmio::kInterruptConfig);
  EXPECT_EQ(line_.count(), 1);
  Start();
  EXPECT_EQ(driver_->status() & kStatusNeedsReset, 0u);
}

TEST_F(MmioTest, NeedsReset_LateCallOfAnEarlierLife_ChangesNothing) {
  Start();
  const auto late = device_->activation->needs_reset;
  Start();
  late();
  EXPECT_EQ(driver_->status() & kStatusNeedsReset, 0u);
  EXPECT_EQ(line_.count(), 0);
}

TEST_F(MmioTest, Notify_ThroughTheKernel_SignalsTheQueuesKick) {
  Start();
  ASSERT_TRUE(io_events_.Write(kNotifyAddress, 0));
  EXPECT_TRUE(device_->activation->queues[0].kick->Drain());
  EXPECT_FALSE(io_events_.Write(kNotifyAddress, 2));
}

TEST_F(MmioTest, Notify_ThroughTheBus_SignalsTheQueuesKick) {
  Start();
  driver_->Notify(1);
  driver_->Notify(7);
  EXPECT_FALSE(device_->activation->queues[0].kick->Drain());
  driver_->Notify(0);
  EXPECT_TRUE(device_->activation->queues[0].kick->Drain());
}

TEST_F(MmioTest, Create_NoMoreIoEvents_FailsAndLeavesNone) {
  FakeIoEventRegistrar io_events;
  io_events.FailAfter(1);
  const auto transport = MmioTransport::Create({.memory = memory_.get(),
                                                .io_events = &io_events,
                                                .base = kBase,
                                                .line = &line_,
                                                .name = "x"},
                                               std::make_unique<FakeDevice>());
  ASSERT_FALSE(transport.has_value());
  EXPECT_TRUE(io_events.entries().empty());
}

TEST_F(MmioTest, Destructor_WhileActive_EndsTheDeviceAndRemovesItsIoEvents) {
  Start();
  transport_.reset();
  EXPECT_TRUE(io_events_.entries().empty());
}

// ---- configuration space ------------------------------------------------------------------------

TEST_F(MmioTest, Config_AnyWidth_ReachesTheDevice) {
  device_->config[3] = std::byte{0x77};
  std::array<std::byte, 1> one;
  transport_->Read(mmio::kConfig + 3, one);
  EXPECT_EQ(one[0], std::byte{0x77});
  std::array<std::byte, 8> past;
  transport_->Read(mmio::kConfig + 0xef8, past);
  EXPECT_EQ(LoadLe64(past), 0u);
}

TEST_F(MmioTest, ConfigWrite_BeforeDriver_IsIgnored) {
  driver_->Write(mmio::kConfig, 5);
  EXPECT_EQ(driver_->Read(mmio::kConfig), 0u);
  driver_->Negotiate(kFeatureVersion1);
  driver_->Write(mmio::kConfig, 5);
  EXPECT_EQ(driver_->Read(mmio::kConfig), 5u);
}

TEST_F(MmioTest, ConfigGeneration_Unchanged_Stays) {
  const auto before = driver_->Read(mmio::kConfigGeneration);
  EXPECT_EQ(driver_->Read(mmio::kConfigGeneration), before);
}

TEST_F(MmioTest, ConfigGeneration_ConfigChangedWithoutAWord_Changes) {
  const auto before = driver_->Read(mmio::kConfigGeneration);
  device_->config[0] = std::byte{1};
  EXPECT_NE(driver_->Read(mmio::kConfigGeneration), before);
}

TEST_F(MmioTest, ConfigGeneration_ConfigInterrupt_Changes) {
  Start();
  const auto before = driver_->Read(mmio::kConfigGeneration);
  device_->activation->config_interrupt->Trigger();
  EXPECT_NE(driver_->Read(mmio::kConfigGeneration), before);
}

// ---- reset --------------------------------------------------------------------------------------

TEST_F(MmioTest, Reset_WhileActive_ClearsTheRegisterFile) {
  Start();
  device_->activation->queues[0].interrupt->Trigger();
  driver_->Reset();
  EXPECT_EQ(driver_->status(), 0u);
  EXPECT_EQ(driver_->Read(mmio::kQueueReady), 0u);
  EXPECT_EQ(driver_->Read(mmio::kInterruptStatus), 0u);
  EXPECT_FALSE(device_->activation.has_value());
}

TEST_F(MmioTest, Reset_BeforeActivation_DoesNotBotherTheDevice) {
  driver_->Negotiate(kFeatureVersion1);
  driver_->Reset();
  EXPECT_EQ(driver_->status(), 0u);
  EXPECT_EQ(device_->resets, 0);
}

TEST_F(MmioTest, Reset_RequestsInFlight_WaitsForThem) {
  Start();
  device_->hold_reset = true;
  std::atomic<bool> finished = false;
  std::thread worker;
  device_->on_held_reset = [&] {
    worker = std::thread([&] {
      finished = true;
      device_->FinishReset();
    });
  };
  driver_->Reset();
  EXPECT_TRUE(finished);
  EXPECT_EQ(driver_->status(), 0u);
  worker.join();
}

TEST_F(MmioTest, Reset_LongerThanTheBound_GoesOnAndShowsNeedsResetAlone) {
  Start();
  device_->hold_reset = true;
  transport_->set_reset_bound(std::chrono::milliseconds(1));
  driver_->Reset();
  EXPECT_EQ(driver_->status(), kStatusNeedsReset);
  // Whatever the driver does now is ignored.
  EXPECT_FALSE(driver_->Negotiate(kFeatureVersion1));
  driver_->SetUpQueue(0, queue_.layout());
  driver_->SetStatus(kStatusDriverOk);
  EXPECT_EQ(device_->activations, 1);
  EXPECT_EQ(device_->resets, 1);

  device_->FinishReset();
  EXPECT_EQ(driver_->status(), 0u);
  device_->hold_reset = false;
  Start();
}

TEST_F(MmioTest, ResetFromMachine_WhileSettingUp_ClearsAndIsDoneAtOnce) {
  driver_->Negotiate(kFeatureVersion1);
  bool done = false;
  transport_->ResetFromMachine([&] { done = true; });
  EXPECT_TRUE(done);
  EXPECT_EQ(driver_->status(), 0u);
}

TEST_F(MmioTest, ResetFromMachine_DuringADriversReset_WaitsForTheSameEnd) {
  Start();
  device_->hold_reset = true;
  transport_->set_reset_bound(std::chrono::milliseconds(1));
  driver_->Reset();
  bool done = false;
  transport_->ResetFromMachine([&] { done = true; });
  EXPECT_FALSE(done);
  device_->FinishReset();
  EXPECT_TRUE(done);
  EXPECT_EQ(device_->resets, 1);
}

}  // namespace
}  // namespace gemel::virtio
