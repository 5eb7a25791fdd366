#include "virtio/transport/pci_transport.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "tests/fakes/fake_device.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_io_event_registrar.h"
#include "tests/fakes/fake_irq_lines.h"
#include "tests/fakes/fake_msi.h"
#include "tests/fakes/fake_pci_driver.h"
#include "tests/fakes/test_memory.h"
#include "virtio/transport/pci_layout.h"
#include "vmm/pci/pci_root.h"

namespace gemel::virtio {
namespace {

namespace reg = pci_layout;
using testing::FakeDevice;
using testing::FakeDriverQueue;
using testing::FakeIoEventRegistrar;
using testing::FakeIrqLines;
using testing::FakeMsi;
using testing::FakeMsiAllocator;
using testing::FakePciDriver;
using testing::MakeTestMemory;
using Gsis = std::set<std::uint32_t>;

constexpr unsigned kDevice = 1;
constexpr std::uint32_t kIntxGsi = pci::IntxGsi(kDevice, 0);
constexpr std::uint64_t kBase = 0xc000'0000;
constexpr std::uint64_t kMsixBase = 0xd000'0000;
constexpr FakeMsi::Message kMessage{0xfee0'0000, 0x41};

class PciTransportTest : public ::testing::Test {
 protected:
  PciTransportTest() {
    auto device = std::make_unique<FakeDevice>();
    device_ = device.get();
    auto transport = PciTransport::Create(
        {.memory = memory_.get(), .io_events = &io_events_, .msis = &msis_, .name = "fake0"},
        std::move(device));
    CHECK(transport.has_value());
    transport_ = transport->get();
    CHECK(root_.Attach(pci::MakeDevfn(kDevice, 0), *std::move(transport)).has_value());
    driver_.emplace(transport_->registers());
    SetConfig<std::uint32_t>(pci::kBar0, kBase);
    SetConfig<std::uint32_t>(0x18, kMsixBase);
    SetConfig<std::uint16_t>(pci::kCommand, pci::kCommandMemory | pci::kCommandBusMaster);
  }
  ~PciTransportTest() override {
    device_->hold_reset = false;
    if (device_->resetting()) device_->FinishReset();
  }

  static pci::ConfigAddress At(std::size_t offset) {
    return {.bus = 0,
            .devfn = pci::MakeDevfn(kDevice, 0),
            .offset = static_cast<std::uint16_t>(offset)};
  }
  template <class T>
  T Config(std::size_t offset) {
    return root_.Get<T>(At(offset));
  }
  template <class T>
  void SetConfig(std::size_t offset, std::type_identity_t<T> value) {
    root_.Set<T>(At(offset), value);
  }
  // The capability of this id and, if it is virtio's, type; 0 if there is none.
  std::size_t Capability(std::uint8_t id, std::uint8_t type = 0) {
    std::size_t at = Config<std::uint8_t>(pci::kCapabilities);
    while (at != 0 && (Config<std::uint8_t>(at) != id ||
                       (type != 0 && Config<std::uint8_t>(at + reg::kCapType) != type)))
      at = Config<std::uint8_t>(at + 1);
    return at;
  }
  void EnableMsix(std::uint16_t more = 0) {
    SetConfig<std::uint16_t>(Capability(pci::kCapMsix) + pci::kMsixControl,
                             static_cast<std::uint16_t>(pci::kMsixEnable | more));
  }
  void SetUpVector(std::uint16_t vector, FakeMsi::Message message) {
    std::array<std::byte, 16> entry{};
    StoreLe(std::span(entry), 0, message.address);
    StoreLe(std::span(entry), 8, message.data);
    memory_bus_.Write(kMsixBase + vector * 16u, std::span(entry).first(8));
    memory_bus_.Write(kMsixBase + vector * 16u + 8, std::span(entry).last(8));
  }
  void Start(std::uint16_t vector = FakePciDriver::kNoVector) {
    driver_->Start(kFeatureVersion1 | kFeatureEventIdx, queue_.layout(), vector);
    ASSERT_TRUE(device_->activation.has_value());
  }
  Interrupt& QueueInterrupt() { return *device_->activation->queues.at(0).interrupt; }
  FakeMsi& Msi(std::size_t source) { return *msis_.made.at(source); }

  std::unique_ptr<GuestMemory> memory_ = MakeTestMemory();
  FakeDriverQueue queue_{*memory_, 8};
  FakeIoEventRegistrar io_events_;
  FakeMsiAllocator msis_;
  FakeIrqLines lines_;
  IoBus memory_bus_, ports_;
  pci::Root root_{&memory_bus_, &ports_, &lines_};
  FakeDevice* device_ = nullptr;       // the transport's
  PciTransport* transport_ = nullptr;  // the root's
  std::optional<FakePciDriver> driver_;
};

// ---- identity and capabilities ------------------------------------------------------------------

TEST_F(PciTransportTest, Identity_IsModern) {
  EXPECT_EQ(Config<std::uint32_t>(0), 0x1044'1af4u);
  EXPECT_EQ(Config<std::uint8_t>(pci::kRevision), 1);
  EXPECT_GE(Config<std::uint16_t>(pci::kSubsystemId), 0x40);
}

TEST_F(PciTransportTest, Create_NoMoreMsis_IsAnError) {
  FakeMsiAllocator msis;
  msis.left = 2;
  const auto transport = PciTransport::Create(
      {.memory = memory_.get(), .io_events = nullptr, .msis = &msis, .name = "blk0"},
      std::make_unique<FakeDevice>());
  ASSERT_FALSE(transport.has_value());
  EXPECT_EQ(transport.error().message, "blk0: MSI-X: no more MSIs");
}

TEST_F(PciTransportTest, VirtioCapabilities_PointIntoBar0) {
  struct Expected {
    std::uint8_t type, length;
    std::uint32_t offset, size;
  };
  for (const Expected& expected : std::to_array<Expected>({{1, 16, 0x0000, 0x38},
                                                           {2, 20, 0x3000, 8},
                                                           {3, 16, 0x1000, 1},
                                                           {4, 16, 0x2000, 0x1000}})) {
    const std::size_t at = Capability(pci::kCapVendor, expected.type);
    ASSERT_NE(at, 0u);
    EXPECT_EQ(Config<std::uint8_t>(at + 2), expected.length);
    EXPECT_EQ(Config<std::uint8_t>(at + 4), 0);
    EXPECT_EQ(Config<std::uint32_t>(at + 8), expected.offset);
    EXPECT_EQ(Config<std::uint32_t>(at + 12), expected.size);
  }
  EXPECT_EQ(Config<std::uint32_t>(Capability(pci::kCapVendor, 2) + 16), 4u);
}

TEST_F(PciTransportTest, Msix_HasAVectorForEachQueueAndConfiguration) {
  EXPECT_EQ(Config<std::uint16_t>(Capability(pci::kCapMsix) + pci::kMsixControl), 2);
}

// ---- common configuration -----------------------------------------------------------------------

TEST_F(PciTransportTest, Common_WhenNew_ReadsItsResetValues) {
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kNumQueues), 2);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kConfigVector), 0xffff);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kQueueVector), 0xffff);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kQueueSize), 16);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kQueueEnable), 0);
  EXPECT_EQ(driver_->Read<std::uint64_t>(reg::kQueueDesc), 0u);
}

TEST_F(PciTransportTest, Common_ReadWriteRegisters_ReadBack) {
  driver_->Negotiate(kFeatureVersion1 | 1);
  driver_->SelectQueue(1);
  driver_->Write<std::uint16_t>(reg::kQueueSize, 4);
  driver_->Write<std::uint32_t>(reg::kQueueDesc, 0x1000);
  driver_->Write<std::uint32_t>(reg::kQueueDesc + 4, 0x12);
  driver_->Write<std::uint64_t>(reg::kQueueDevice, 0x34'0000'2000);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kQueueSelect), 1);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kQueueSize), 4);
  EXPECT_EQ(driver_->Read<std::uint64_t>(reg::kQueueDesc), 0x12'0000'1000u);
  EXPECT_EQ(driver_->Read<std::uint32_t>(reg::kQueueDevice + 4), 0x34u);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kQueueNotifyOff), 1);
  driver_->Write<std::uint32_t>(reg::kDriverFeatureSelect, 1);
  EXPECT_EQ(driver_->Read<std::uint32_t>(reg::kDriverFeatureSelect), 1u);
  EXPECT_EQ(driver_->Read<std::uint32_t>(reg::kDriverFeature), 1u);
  driver_->Write<std::uint32_t>(reg::kDeviceFeatureSelect, 7);
  EXPECT_EQ(driver_->Read<std::uint32_t>(reg::kDeviceFeatureSelect), 7u);
  EXPECT_EQ(driver_->Read<std::uint32_t>(reg::kDeviceFeature), 0u);
}

TEST_F(PciTransportTest, Features_AreTheDevicesAndTheTransports) {
  EXPECT_EQ(driver_->DeviceFeatures(),
            FakeDevice::kFeatures | kFeatureVersion1 | kFeatureEventIdx | kFeatureIndirectDesc);
}

TEST_F(PciTransportTest, Common_OtherWidthsAndPlaces_ReadZeroAndIgnoreWrites) {
  driver_->Write<std::uint32_t>(reg::kDeviceStatus, kStatusAcknowledge);
  driver_->Write<std::uint16_t>(reg::kDeviceStatus, kStatusAcknowledge);
  EXPECT_EQ(driver_->status(), 0);
  EXPECT_EQ(driver_->Read<std::uint8_t>(reg::kNumQueues), 0);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kNumQueues + 1), 0);
  EXPECT_EQ(driver_->Read<std::uint32_t>(reg::kCommonLength), 0u);
  EXPECT_EQ(driver_->Read<std::uint64_t>(0x3c), 0u);
  EXPECT_EQ(driver_->Read<std::uint32_t>(reg::kNotify), 0u);
}

TEST_F(PciTransportTest, Queue_ThatDoesNotExist_ReadsSizeZeroAndNoVector) {
  EnableMsix();
  driver_->SelectQueue(2);
  driver_->Write<std::uint16_t>(reg::kQueueVector, 1);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kQueueSize), 0);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kQueueVector), 0xffff);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kQueueNotifyOff), 0);
  EXPECT_EQ(driver_->Read<std::uint64_t>(reg::kQueueDesc), 0u);
}

TEST_F(PciTransportTest, QueueEnable_Zero_DoesNotDisable) {
  driver_->Negotiate(kFeatureVersion1);
  driver_->SetUpQueue(0, queue_.layout());
  driver_->Write<std::uint16_t>(reg::kQueueEnable, 0);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kQueueEnable), 1);
}

TEST_F(PciTransportTest, DriverOk_ActivatesTheQueuesThatAreEnabled) {
  Start();
  ASSERT_EQ(device_->activation->queues.size(), 1u);
  EXPECT_EQ(device_->activation->queues[0].queue->size(), 8);
  EXPECT_EQ(device_->activation->features, kFeatureVersion1 | kFeatureEventIdx);
}

TEST_F(PciTransportTest, DeviceConfig_AnyWidth_ReachesTheDevice) {
  device_->config[3] = std::byte{0x77};
  EXPECT_EQ(driver_->Read<std::uint8_t>(reg::kDeviceConfig + 3), 0x77);
  EXPECT_EQ(driver_->Read<std::uint32_t>(reg::kDeviceConfig), 0x7700'0000u);
  EXPECT_EQ(driver_->Read<std::uint64_t>(reg::kDeviceConfig + 0xff8), 0u);
  driver_->Negotiate(kFeatureVersion1);
  driver_->Write<std::uint16_t>(reg::kDeviceConfig + 1, 0x1234);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kDeviceConfig + 1), 0x1234);
}

TEST_F(PciTransportTest, ConfigGeneration_ConfigChanged_Changes) {
  const auto before = driver_->Read<std::uint8_t>(reg::kConfigGeneration);
  EXPECT_EQ(driver_->Read<std::uint8_t>(reg::kConfigGeneration), before);
  device_->config[0] = std::byte{1};
  EXPECT_NE(driver_->Read<std::uint8_t>(reg::kConfigGeneration), before);
}

// ---- kicks --------------------------------------------------------------------------------------

TEST_F(PciTransportTest, Notify_ThroughTheKernel_AnyValueSignalsTheQueueOfTheAddress) {
  Start();
  ASSERT_TRUE(io_events_.Write(kBase + reg::NotifyOffset(0), 0x1'0000));
  EXPECT_TRUE(device_->activation->queues[0].kick->Drain());
  ASSERT_TRUE(io_events_.Write(kBase + reg::NotifyOffset(1), 0));
  EXPECT_FALSE(device_->activation->queues[0].kick->Drain());
  EXPECT_FALSE(io_events_.Write(kBase + reg::NotifyOffset(2), 0));
}

TEST_F(PciTransportTest, Notify_ThroughTheBar_SignalsTheQueueOfTheAddress) {
  Start();
  driver_->Notify(1);
  driver_->Notify(700);
  EXPECT_FALSE(device_->activation->queues[0].kick->Drain());
  driver_->Notify(0);
  EXPECT_TRUE(device_->activation->queues[0].kick->Drain());
}

TEST_F(PciTransportTest, BarMoved_IoEventsMoveWithIt) {
  SetConfig<std::uint32_t>(pci::kBar0, 0xe000'0000);
  EXPECT_FALSE(io_events_.Write(kBase + reg::NotifyOffset(0), 0));
  EXPECT_TRUE(io_events_.Write(0xe000'0000 + reg::NotifyOffset(0), 0));
  EXPECT_EQ(io_events_.entries().size(), 2u);
}

TEST_F(PciTransportTest, BarHidden_IoEventsGo) {
  SetConfig<std::uint16_t>(pci::kCommand, 0);
  EXPECT_TRUE(io_events_.entries().empty());
}

TEST_F(PciTransportTest, BarMovedOnAnother_HasNoIoEventsUntilThatGoes) {
  SetConfig<std::uint32_t>(pci::kBar0, kMsixBase);
  EXPECT_TRUE(io_events_.entries().empty());
  SetConfig<std::uint32_t>(0x18, 0xf000'0000);
  EXPECT_EQ(io_events_.entries().size(), 2u);
}

TEST_F(PciTransportTest, BarMoved_NoMoreIoEvents_KicksComeThroughTheBar) {
  io_events_.FailAfter(1);
  SetConfig<std::uint32_t>(pci::kBar0, 0xe000'0000);
  EXPECT_EQ(io_events_.entries().size(), 1u);
  SetConfig<std::uint32_t>(pci::kBar0, kBase);
  EXPECT_TRUE(io_events_.entries().empty());
  Start();
  const std::array<std::byte, 2> zero{};
  EXPECT_TRUE(memory_bus_.Write(kBase + reg::NotifyOffset(0), zero));
  EXPECT_TRUE(device_->activation->queues[0].kick->Drain());
}

TEST_F(PciTransportTest, BarMovedThousandsOfTimes_LeavesOneSetOfIoEvents) {
  for (std::uint32_t i = 1; i < 3000; ++i) SetConfig<std::uint32_t>(pci::kBar0, i * 0x10'0000);
  EXPECT_EQ(io_events_.entries().size(), 2u);
}

// ---- interrupts by MSI-X ------------------------------------------------------------------------

TEST_F(PciTransportTest, MsixVector_Set_ReadsBackAndUnsupportedReadsNone) {
  driver_->Write<std::uint16_t>(reg::kConfigVector, 2);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kConfigVector), 2);
  driver_->Write<std::uint16_t>(reg::kConfigVector, 3);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kConfigVector), 0xffff);
  driver_->Write<std::uint16_t>(reg::kQueueVector, 1);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kQueueVector), 1);
  driver_->SelectQueue(1);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kQueueVector), 0xffff);
}

TEST_F(PciTransportTest, QueueInterrupt_Msix_SendsItsVectorsMessage) {
  EnableMsix();
  SetUpVector(1, kMessage);
  Start(1);
  QueueInterrupt().Trigger();
  EXPECT_EQ(Msi(1).sent, std::vector{kMessage});
  EXPECT_EQ(driver_->TakeIsr(), 0);
  EXPECT_EQ(lines_.up(), Gsis{});
  EXPECT_EQ(QueueInterrupt().event_fd(), Msi(1).event_fd());
}

TEST_F(PciTransportTest, QueueInterrupt_MsixWithoutAVector_SendsNothing) {
  EnableMsix();
  SetUpVector(1, kMessage);
  Start();
  QueueInterrupt().Trigger();
  EXPECT_TRUE(Msi(1).sent.empty());
  EXPECT_EQ(driver_->TakeIsr(), 0);
}

TEST_F(PciTransportTest, QueueInterrupt_MaskedFunction_IsPendingAndSentLater) {
  EnableMsix(pci::kMsixFunctionMask);
  SetUpVector(1, kMessage);
  Start(1);
  QueueInterrupt().Trigger();
  std::array<std::byte, 1> pending;
  memory_bus_.Read(kMsixBase + 2048, pending);
  EXPECT_EQ(pending[0], std::byte{2});
  EnableMsix();
  EXPECT_EQ(Msi(1).sent, std::vector{kMessage});
}

TEST_F(PciTransportTest, ConfigInterrupt_Msix_SendsAndSetsItsIsrBitWithoutThePin) {
  EnableMsix();
  SetUpVector(0, kMessage);
  Start();
  driver_->Write<std::uint16_t>(reg::kConfigVector, 0);
  device_->activation->config_interrupt->Trigger();
  EXPECT_EQ(Msi(0).sent, std::vector{kMessage});
  EXPECT_EQ(lines_.up(), Gsis{});
  EXPECT_EQ(driver_->TakeIsr(), reg::kIsrConfig);
}

// ---- interrupts by the pin ----------------------------------------------------------------------

TEST_F(PciTransportTest, QueueInterrupt_NoMsix_SetsTheIsrAndHoldsThePinUntilItIsRead) {
  Start();
  QueueInterrupt().Trigger();
  EXPECT_EQ(lines_.up(), Gsis{kIntxGsi});
  EXPECT_NE(Config<std::uint16_t>(pci::kStatus) & pci::kStatusInterrupt, 0);
  EXPECT_EQ(driver_->TakeIsr(), reg::kIsrQueue);
  EXPECT_EQ(lines_.up(), Gsis{});
  EXPECT_EQ(driver_->TakeIsr(), 0);
  EXPECT_EQ(QueueInterrupt().event_fd(), -1);
}

TEST_F(PciTransportTest, IsrRead_PastItsByte_DoesNotClear) {
  Start();
  QueueInterrupt().Trigger();
  EXPECT_EQ(driver_->Read<std::uint8_t>(reg::kIsr + 1), 0);
  EXPECT_EQ(lines_.up(), Gsis{kIntxGsi});
}

TEST_F(PciTransportTest, MsixEnabled_WhileThePinIsUp_LetsGo) {
  Start();
  QueueInterrupt().Trigger();
  EnableMsix();
  EXPECT_EQ(lines_.up(), Gsis{});
}

TEST_F(PciTransportTest, NeedsReset_ByTheDevice_ShowsAndInterrupts) {
  Start();
  device_->activation->needs_reset();
  EXPECT_NE(driver_->status() & kStatusNeedsReset, 0);
  EXPECT_EQ(lines_.up(), Gsis{kIntxGsi});
  EXPECT_EQ(driver_->TakeIsr(), reg::kIsrConfig);
}

// ---- several threads ----------------------------------------------------------------------------

TEST_F(PciTransportTest, Interrupts_WhileTheDriverSwitchesAndMasks_EndAsTheRegistersSay) {
  SetUpVector(1, kMessage);
  Start(1);
  std::atomic<bool> done = false;
  std::thread worker([&] {
    for (int i = 0; i < 5000; ++i) {
      QueueInterrupt().Trigger();
      if (i % 100 == 0) device_->activation->config_interrupt->Trigger();
    }
    done = true;
  });
  while (!done) {
    EnableMsix();
    EnableMsix(pci::kMsixFunctionMask);
    SetConfig<std::uint16_t>(Capability(pci::kCapMsix) + pci::kMsixControl, 0);
    driver_->TakeIsr();
    SetConfig<std::uint32_t>(pci::kBar0, 0xe000'0000);
    SetConfig<std::uint32_t>(pci::kBar0, kBase);
  }
  worker.join();
  driver_->TakeIsr();
  EXPECT_EQ(lines_.up(), Gsis{});
  QueueInterrupt().Trigger();
  EXPECT_EQ(lines_.up(), Gsis{kIntxGsi});
}

// ---- resets -------------------------------------------------------------------------------------

TEST_F(PciTransportTest, Reset_Ended_ClearsRegistersVectorsAndIsr) {
  EnableMsix();
  Start(1);
  driver_->Write<std::uint16_t>(reg::kConfigVector, 0);
  device_->activation->config_interrupt->Trigger();
  driver_->Reset();
  EXPECT_EQ(driver_->status(), 0);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kConfigVector), 0xffff);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kQueueVector), 0xffff);
  EXPECT_EQ(driver_->Read<std::uint16_t>(reg::kQueueEnable), 0);
  EXPECT_EQ(driver_->TakeIsr(), 0);
}

TEST_F(PciTransportTest, Reset_RequestsInFlight_DoesNotWaitAndReadsNeedsResetUntilItEnds) {
  Start();
  device_->hold_reset = true;
  driver_->Reset();
  EXPECT_EQ(driver_->status(), kStatusNeedsReset);
  EXPECT_FALSE(driver_->Negotiate(kFeatureVersion1));
  device_->FinishReset();
  EXPECT_EQ(driver_->status(), 0);
  EXPECT_TRUE(driver_->Negotiate(kFeatureVersion1));
}

TEST_F(PciTransportTest, Flr_WhileActive_ResetsTheDeviceAndTheFunction) {
  EnableMsix();
  SetUpVector(1, kMessage);
  Start(1);
  const std::size_t control = Capability(pci::kCapExpress) + pci::kExpDeviceControl;
  SetConfig<std::uint16_t>(control, pci::kExpInitiateReset);
  EXPECT_EQ(device_->resets, 1);
  EXPECT_FALSE(device_->activation.has_value());
  EXPECT_EQ(driver_->status(), 0);
  EXPECT_TRUE(io_events_.entries().empty());
  EXPECT_FALSE(Msi(1).message().has_value());
}

TEST_F(PciTransportTest, Flr_RequestsInFlight_DoesNotWait) {
  Start();
  device_->hold_reset = true;
  SetConfig<std::uint16_t>(Capability(pci::kCapExpress) + pci::kExpDeviceControl,
                           pci::kExpInitiateReset);
  EXPECT_EQ(driver_->status(), kStatusNeedsReset);
  EXPECT_EQ(Config<std::uint16_t>(0), reg::kVendor);
  device_->FinishReset();
  EXPECT_EQ(driver_->status(), 0);
}

TEST_F(PciTransportTest, ResetFromMachine_IsDoneWhenTheDeviceIs) {
  Start();
  device_->hold_reset = true;
  bool done = false;
  transport_->ResetFromMachine([&] { done = true; });
  EXPECT_FALSE(done);
  device_->FinishReset();
  EXPECT_TRUE(done);
}

// ---- the window in configuration space (4.1.4.9) ------------------------------------------------

class PciWindowTest : public PciTransportTest {
 protected:
  void Open(std::uint8_t bar, std::uint32_t offset, std::uint32_t length) {
    SetConfig<std::uint8_t>(window_ + reg::kCapBar, bar);
    SetConfig<std::uint32_t>(window_ + reg::kCapOffset, offset);
    SetConfig<std::uint32_t>(window_ + reg::kCapSize, length);
  }
  const std::size_t window_ = Capability(pci::kCapVendor, reg::kCapPciConfig);
  const std::size_t data_ = window_ + reg::kCapExtra;
};

TEST_F(PciWindowTest, Read_IsARegistersValue) {
  Open(0, reg::kNumQueues, 2);
  EXPECT_EQ(Config<std::uint16_t>(data_), 2);
  EXPECT_EQ(Config<std::uint32_t>(data_), 2u);
}

TEST_F(PciWindowTest, Write_ReachesTheRegister) {
  Open(0, reg::kDeviceStatus, 1);
  SetConfig<std::uint8_t>(data_, kStatusAcknowledge);
  EXPECT_EQ(driver_->status(), kStatusAcknowledge);
}

TEST_F(PciWindowTest, Access_WithMemoryDecodingOff_Works) {
  SetConfig<std::uint16_t>(pci::kCommand, 0);
  Open(0, reg::kDeviceFeature, 4);
  EXPECT_EQ(Config<std::uint32_t>(data_) & FakeDevice::kFeatures, FakeDevice::kFeatures);
}

TEST_F(PciWindowTest, OtherBar_IsTheMsixTable) {
  Open(2, 8, 4);
  SetConfig<std::uint32_t>(data_, 0x1234);
  std::array<std::byte, 4> data;
  memory_bus_.Read(kMsixBase + 8, data);
  EXPECT_EQ(LoadLe32(data), 0x1234u);
}

TEST_F(PciWindowTest, SettingUpTheWindow_TouchesNothing) {
  Start();
  QueueInterrupt().Trigger();
  Open(0, reg::kIsr, 1);
  EXPECT_EQ(lines_.up(), Gsis{kIntxGsi});
  EXPECT_EQ(Config<std::uint8_t>(data_), reg::kIsrQueue);
  EXPECT_EQ(lines_.up(), Gsis{});
}

TEST_F(PciWindowTest, NonsenseWindows_ReachNothing) {
  struct Window {
    std::uint8_t bar;
    std::uint32_t offset, length;
  };
  for (const Window& window : std::to_array<Window>({{0, reg::kDeviceStatus, 0},
                                                     {0, reg::kDeviceStatus, 3},
                                                     {0, reg::kDeviceStatus + 1, 8},
                                                     {0, 0x4000, 1},
                                                     {0, 0xffff'fffc, 4},
                                                     {0, 2, 4},
                                                     {1, 0, 4},
                                                     {3, 0, 4},
                                                     {6, 0, 4},
                                                     {255, 0, 4}})) {
    Open(window.bar, window.offset, window.length);
    SetConfig<std::uint32_t>(data_, 0x0101'0101);
    EXPECT_EQ(Config<std::uint32_t>(data_), 0x0101'0101u);
    EXPECT_EQ(driver_->status(), 0);
  }
}

}  // namespace
}  // namespace gemel::virtio
