#include "vmm/pci/pci_function.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/pci/test_function.h"

namespace gemel::pci {
namespace {

using testing::FakeMsiAllocator;
using Gsis = std::set<std::uint32_t>;

constexpr unsigned kDevice = 3;
constexpr std::uint64_t kSize32 = 0x1000, kSize64 = 0x4000;

// BAR 0: 64-bit memory, BAR 2: MSI-X, BAR 3: 32-bit memory, BAR 4: I/O.
class FunctionTest : public ::testing::Test {
 protected:
  FunctionTest() {
    auto function = std::make_unique<TestFunction>();
    function->AddBar(0, BarKind::kMemory64, kSize64, &memory64_);
    function->AddBar(3, BarKind::kMemory32, kSize32, &memory32_);
    function->AddBar(4, BarKind::kIo, 0x20, &io_);
    function->AddIntxPin(0);
    function->AddPowerManagement();
    function->AddIntegratedExpress();
    function->AddMsix(2, msix_.get());
    function_ = bus_.Attach(kDevice, std::move(function));
  }

  template <class T>
  T Get(std::size_t offset) {
    return bus_.Get<T>(kDevice, offset);
  }
  template <class T>
  void Set(std::size_t offset, std::type_identity_t<T> value) {
    bus_.Set<T>(kDevice, offset, value);
  }
  void Command(std::uint16_t bits) { Set<std::uint16_t>(kCommand, bits); }
  std::size_t Capability(std::uint8_t id) {
    std::size_t at = Get<std::uint8_t>(kCapabilities);
    while (at != 0 && Get<std::uint8_t>(at) != id) at = Get<std::uint8_t>(at + 1);
    return at;
  }
  std::uint8_t Memory(std::uint64_t address) { return TestRoot::Peek(bus_.memory, address); }

  static constexpr std::size_t kBar2 = 0x18, kBar3 = 0x1c, kBar4 = 0x20, kBar5 = 0x24;

  NumberHandler memory64_{0x64}, memory32_{0x32}, io_{0x10};
  FakeMsiAllocator msis_;
  std::unique_ptr<Msix> msix_ = Msix::Create("test", &msis_, 4, 2).value();
  TestRoot bus_;
  TestFunction* function_;
};

// ---- header and capabilities --------------------------------------------------------------------

TEST_F(FunctionTest, Header_SaysWhatTheIdentityIs) {
  EXPECT_EQ(Get<std::uint32_t>(0), 0x5678'1234u);
  EXPECT_EQ(Get<std::uint32_t>(8), 0xabcd'ef09u);
  EXPECT_EQ(Get<std::uint8_t>(kHeaderType), 0);
  EXPECT_EQ(Get<std::uint32_t>(kSubsystemVendorId), 0x2222'1111u);
  EXPECT_EQ(Get<std::uint8_t>(kInterruptPin), 1);
}

TEST_F(FunctionTest, Header_ReadOnlyRegisters_KeepNothing) {
  Set<std::uint32_t>(0, 0xffff'ffff);
  Set<std::uint32_t>(8, 0xffff'ffff);
  Set<std::uint32_t>(kSubsystemVendorId, 0);
  Set<std::uint8_t>(kInterruptPin, 4);
  EXPECT_EQ(Get<std::uint32_t>(0), 0x5678'1234u);
  EXPECT_EQ(Get<std::uint32_t>(8), 0xabcd'ef09u);
  EXPECT_EQ(Get<std::uint32_t>(kSubsystemVendorId), 0x2222'1111u);
  EXPECT_EQ(Get<std::uint8_t>(kInterruptPin), 1);
}

TEST_F(FunctionTest, Capabilities_AreListedInOrderAndEnd) {
  EXPECT_NE(Get<std::uint16_t>(kStatus) & kStatusCapabilities, 0);
  std::vector<std::uint8_t> ids;
  for (std::size_t at = Get<std::uint8_t>(kCapabilities); at != 0; at = Get<std::uint8_t>(at + 1)) {
    EXPECT_EQ(at % 4, 0u);
    ids.push_back(Get<std::uint8_t>(at));
  }
  EXPECT_EQ(ids, (std::vector<std::uint8_t>{kCapPowerManagement, kCapExpress, kCapMsix}));
}

TEST_F(FunctionTest, InterruptLine_IsKept) {
  Set<std::uint8_t>(kInterruptLine, 11);
  EXPECT_EQ(Get<std::uint8_t>(kInterruptLine), 11);
}

TEST_F(FunctionTest, Command_OtherBits_ReadZero) {
  Command(0xffff);
  EXPECT_EQ(Get<std::uint16_t>(kCommand), 0x0547);
}

// ---- BARs ---------------------------------------------------------------------------------------

TEST_F(FunctionTest, Sizing_AllOnes_ReadsTheSizeAndType) {
  for (std::size_t at = kBar0; at <= kBar5; at += 4) Set<std::uint32_t>(at, 0xffff'ffff);
  EXPECT_EQ(Get<std::uint32_t>(kBar0), 0xffff'c004u);
  EXPECT_EQ(Get<std::uint32_t>(kBar0 + 4), 0xffff'ffffu);
  EXPECT_EQ(Get<std::uint32_t>(kBar2), 0xffff'f000u);
  EXPECT_EQ(Get<std::uint32_t>(kBar3), 0xffff'f000u);
  EXPECT_EQ(Get<std::uint32_t>(kBar4), 0xffff'ffe1u);
  EXPECT_EQ(Get<std::uint32_t>(kBar5), 0u);
}

TEST_F(FunctionTest, Bar_WithoutMemoryDecoding_IsNowhere) {
  Set<std::uint32_t>(kBar3, 0xc000'0000);
  Command(kCommandIo);
  EXPECT_EQ(Memory(0xc000'0000), 0xff);
  Command(kCommandMemory);
  EXPECT_EQ(Memory(0xc000'0000), 0x32);
  Command(0);
  EXPECT_EQ(Memory(0xc000'0000), 0xff);
}

TEST_F(FunctionTest, Bar_Io_FollowsItsOwnCommandBit) {
  Set<std::uint32_t>(kBar4, 0xc001);
  Command(kCommandMemory);
  EXPECT_EQ(TestRoot::Peek(bus_.ports, 0xc000), 0xff);
  Command(kCommandIo);
  EXPECT_EQ(TestRoot::Peek(bus_.ports, 0xc01f), 0x10);
  EXPECT_EQ(Get<std::uint32_t>(kBar4), 0xc001u);
}

TEST_F(FunctionTest, Bar_64Bit_LiesAboveFourGigabytes) {
  Set<std::uint32_t>(kBar0, 0x0000'8000);
  Set<std::uint32_t>(kBar0 + 4, 0x12);
  Command(kCommandMemory);
  EXPECT_EQ(Memory(0x12'0000'8000), 0x64);
  EXPECT_EQ(Memory(0x12'0000'bfff), 0x64);
  EXPECT_EQ(function_->mapped.back(), std::pair(0u, std::uint64_t{0x12'0000'8000}));
}

TEST_F(FunctionTest, Bar_AddressBitsBelowItsSize_AreIgnored) {
  Set<std::uint32_t>(kBar3, 0xc000'0fff);
  EXPECT_EQ(Get<std::uint32_t>(kBar3), 0xc000'0000u);
}

TEST_F(FunctionTest, Bar_MovedWhileDecoded_TellsBothWays) {
  Set<std::uint32_t>(kBar3, 0xc000'0000);
  Command(kCommandMemory);
  Set<std::uint32_t>(kBar3, 0xd000'0000);
  EXPECT_EQ(Memory(0xc000'0000), 0xff);
  EXPECT_EQ(Memory(0xd000'0000), 0x32);
  EXPECT_EQ(function_->unmapped.back(), std::pair(3u, std::uint64_t{0xc000'0000}));
  EXPECT_EQ(function_->mapped.back(), std::pair(3u, std::uint64_t{0xd000'0000}));
}

TEST_F(FunctionTest, Bar_WrittenByteByByte_Moves) {
  Command(kCommandMemory);
  Set<std::uint8_t>(kBar3 + 3, 0xc0);
  Set<std::uint8_t>(kBar3 + 1, 0x20);
  EXPECT_EQ(Memory(0xc000'2000), 0x32);
}

TEST_F(FunctionTest, Bar_AtZero_IsNowhere) {
  Command(kCommandMemory | kCommandIo);
  EXPECT_EQ(Memory(0), 0xff);
  EXPECT_TRUE(function_->mapped.empty());
}

TEST_F(FunctionTest, Bar_OnAnotherOfTheSameFunction_WaitsForIt) {
  Set<std::uint32_t>(kBar0, 0xc000'0000);
  Set<std::uint32_t>(kBar3, 0xc000'0000);
  Command(kCommandMemory);
  EXPECT_EQ(Memory(0xc000'0000), 0x64);
  Set<std::uint32_t>(kBar0, 0xe000'0000);
  EXPECT_EQ(Memory(0xc000'0000), 0x32);
}

TEST_F(FunctionTest, Bar_OnAnotherFunctions_IsThatOnesUntilItGoes) {
  NumberHandler other_handler(0x77);
  auto other = std::make_unique<TestFunction>("other");
  other->AddBar(0, BarKind::kMemory32, 0x1000, &other_handler);
  bus_.Attach(4, std::move(other));
  bus_.Set<std::uint32_t>(4, kBar0, 0xc000'0000);
  bus_.Set<std::uint16_t>(4, kCommand, kCommandMemory);
  Set<std::uint32_t>(kBar3, 0xc000'0000);
  Command(kCommandMemory);
  EXPECT_EQ(Memory(0xc000'0000), 0x77);
  bus_.Set<std::uint16_t>(4, kCommand, 0);
  EXPECT_EQ(Memory(0xc000'0000), 0x32);
}

// ---- interrupts ---------------------------------------------------------------------------------

TEST_F(FunctionTest, Intx_ShowsInStatusAndOnTheLine) {
  function_->SetIntx(true);
  EXPECT_NE(Get<std::uint16_t>(kStatus) & kStatusInterrupt, 0);
  EXPECT_EQ(bus_.lines.up(), Gsis{IntxGsi(kDevice, 0)});
  function_->SetIntx(false);
  EXPECT_EQ(Get<std::uint16_t>(kStatus) & kStatusInterrupt, 0);
}

TEST_F(FunctionTest, Intx_StatusReadAsDword_ShowsIt) {
  function_->SetIntx(true);
  EXPECT_NE(Get<std::uint32_t>(kCommand) >> 16 & kStatusInterrupt, 0u);
  EXPECT_NE(Get<std::uint8_t>(kStatus) & kStatusInterrupt, 0);
}

TEST_F(FunctionTest, Intx_Disabled_StaysInStatusOnly) {
  function_->SetIntx(true);
  Command(kCommandIntxDisable);
  EXPECT_EQ(bus_.lines.up(), Gsis{});
  EXPECT_NE(Get<std::uint16_t>(kStatus) & kStatusInterrupt, 0);
  Command(0);
  EXPECT_EQ(bus_.lines.up(), Gsis{IntxGsi(kDevice, 0)});
}

TEST_F(FunctionTest, Msix_ControlAndTable_SayWhereAndHowMany) {
  const std::size_t at = Capability(kCapMsix);
  EXPECT_EQ(Get<std::uint16_t>(at + kMsixControl), 3);
  EXPECT_EQ(Get<std::uint32_t>(at + kMsixTable), 2u);
  EXPECT_EQ(Get<std::uint32_t>(at + kMsixPending), 0x802u);
  Set<std::uint16_t>(at + kMsixControl, 0xffff);
  EXPECT_EQ(Get<std::uint16_t>(at + kMsixControl), 0xc003);
}

TEST_F(FunctionTest, Msix_Enable_ReachesTheTable) {
  const std::size_t at = Capability(kCapMsix);
  EXPECT_FALSE(msix_->enabled());
  Set<std::uint16_t>(at + kMsixControl, kMsixEnable);
  EXPECT_TRUE(msix_->enabled());
  Set<std::uint8_t>(at + kMsixControl + 1, 0);
  EXPECT_FALSE(msix_->enabled());
}

TEST_F(FunctionTest, Msix_WithoutBusMaster_Waits) {
  Set<std::uint32_t>(kBar2, 0xc000'0000);
  Command(kCommandMemory);
  Set<std::uint16_t>(Capability(kCapMsix) + kMsixControl, kMsixEnable);
  msix_->Bind(0, 0);
  bus_.memory.Write(0xc000'000c, std::array<std::byte, 4>{});
  msix_->Trigger(0);
  EXPECT_EQ(Memory(0xc000'0800), 1);
  Command(kCommandMemory | kCommandBusMaster);
  EXPECT_EQ(msis_.made[0]->sent.size(), 1u);
  EXPECT_EQ(Memory(0xc000'0800), 0);
}

// ---- power --------------------------------------------------------------------------------------

TEST_F(FunctionTest, Power_D3Hot_AnswersConfigurationOnly) {
  Set<std::uint32_t>(kBar3, 0xc000'0000);
  Command(kCommandMemory);
  const std::size_t at = Capability(kCapPowerManagement);
  Set<std::uint16_t>(at + kPmControl, 3);
  EXPECT_EQ(Memory(0xc000'0000), 0xff);
  EXPECT_EQ(Get<std::uint16_t>(kVendorId), 0x1234);
  Set<std::uint16_t>(at + kPmControl, 0);
  EXPECT_EQ(Memory(0xc000'0000), 0x32);
  EXPECT_EQ(function_->resets, 0);
}

TEST_F(FunctionTest, Power_NoSoftReset_IsReadOnly) {
  const std::size_t at = Capability(kCapPowerManagement);
  Set<std::uint16_t>(at + kPmControl, 0xffff);
  EXPECT_EQ(Get<std::uint16_t>(at + kPmControl), kPmNoSoftReset | 3);
}

// ---- function level reset -----------------------------------------------------------------------

TEST_F(FunctionTest, Flr_ResetsRegistersBarsAndInterrupts) {
  Set<std::uint32_t>(kBar3, 0xc000'0000);
  Command(kCommandMemory | kCommandBusMaster);
  Set<std::uint8_t>(kInterruptLine, 11);
  Set<std::uint16_t>(Capability(kCapMsix) + kMsixControl, kMsixEnable);
  function_->SetIntx(true);
  const std::size_t control = Capability(kCapExpress) + kExpDeviceControl;
  Set<std::uint16_t>(control, Get<std::uint16_t>(control) | kExpInitiateReset);

  EXPECT_EQ(function_->resets, 1);
  EXPECT_EQ(Get<std::uint16_t>(control), kExpDeviceControlReset);
  EXPECT_EQ(Get<std::uint16_t>(kCommand), 0);
  EXPECT_EQ(Get<std::uint32_t>(kBar3), 0u);
  EXPECT_EQ(Get<std::uint8_t>(kInterruptLine), 0);
  EXPECT_EQ(Memory(0xc000'0000), 0xff);
  EXPECT_EQ(bus_.lines.up(), Gsis{});
  EXPECT_FALSE(msix_->enabled());
}

TEST_F(FunctionTest, Flr_ByItsHighByte_Resets) {
  Set<std::uint8_t>(Capability(kCapExpress) + kExpDeviceControl + 1, 0x80);
  EXPECT_EQ(function_->resets, 1);
}

TEST_F(FunctionTest, DeviceControl_WithoutTheBit_DoesNotReset) {
  const std::size_t control = Capability(kCapExpress) + kExpDeviceControl;
  Set<std::uint16_t>(control, 0x7fff);
  EXPECT_EQ(function_->resets, 0);
  EXPECT_EQ(Get<std::uint16_t>(control), kExpDeviceControlBits);
}

TEST_F(FunctionTest, Flr_IsAnnounced) {
  EXPECT_NE(
      Get<std::uint32_t>(Capability(kCapExpress) + kExpDeviceCapabilities) & kExpFunctionReset, 0u);
}

// ---- what a device hears ------------------------------------------------------------------------

TEST_F(FunctionTest, Accesses_TellTheDeviceWhere) {
  Get<std::uint16_t>(0x46);
  Set<std::uint8_t>(0x99, 1);
  EXPECT_EQ(function_->reads.back(), std::pair(std::size_t{0x46}, std::size_t{2}));
  EXPECT_EQ(function_->writes.back(), std::pair(std::size_t{0x99}, std::size_t{1}));
}

TEST(FunctionLifeTest, Root_Destroyed_TakesItsBarsOffTheBus) {
  IoBus memory, ports;
  testing::FakeIrqLines lines;
  NumberHandler handler(1);
  {
    Root root(&memory, &ports, &lines);
    auto function = std::make_unique<TestFunction>();
    function->AddBar(0, BarKind::kMemory32, 0x1000, &handler);
    ASSERT_TRUE(root.Attach(MakeDevfn(1, 0), std::move(function)).has_value());
    root.Set<std::uint32_t>(TestRoot::At(1, kBar0), 0xc000'0000);
    root.Set<std::uint16_t>(TestRoot::At(1, kCommand), kCommandMemory);
    EXPECT_EQ(TestRoot::Peek(memory, 0xc000'0000), 1);
  }
  EXPECT_EQ(TestRoot::Peek(memory, 0xc000'0000), 0xff);
}

TEST(FunctionLifeTest, Attach_WhereAnotherIs_IsAnError) {
  TestRoot bus;
  bus.Attach(1, std::make_unique<TestFunction>("one"));
  const auto attached = bus.root.Attach(MakeDevfn(1, 0), std::make_unique<TestFunction>("two"));
  ASSERT_FALSE(attached.has_value());
  EXPECT_EQ(attached.error().message, "PCI 01.0: two: one is there");
}

}  // namespace
}  // namespace gemel::pci
