#include "vmm/pci/q35.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/vmm/pci/test_function.h"
#include "vmm/pci/root_port.h"

namespace gemel::pci {
namespace {

constexpr std::uint64_t kEcam = 0xb000'0000;
constexpr Q35::Layout kLayout{.ecam = kEcam,
                              .pm_base = 0x600,
                              .resources = {.io = {0x1000, 0xf000},
                                            .memory32 = {0xc000'0000, 0x2000'0000},
                                            .memory64 = {0x40'0000'0000, 0x10'0000'0000}}};

class PamLog : public ChipsetEvents {
 public:
  void OnPam(const PamRegisters& pam) override {
    last = pam;
    ++calls;
  }
  PamRegisters last{};
  int calls = 0;
};

class Q35Test : public ::testing::Test {
 protected:
  Q35Test() : q35_(Make()) {}

  std::unique_ptr<Q35> Make() {
    auto q35 = Q35::Create({.memory = &memory_,
                            .ports = &ports_,
                            .lines = &lines_,
                            .events = &pam_,
                            .reset = &reset_,
                            .pm = &pm_,
                            .pm_size = 0x80});
    CHECK(q35.has_value());
    return *std::move(q35);
  }
  static ConfigAddress At(unsigned device, unsigned function, std::size_t offset) {
    return {.bus = 0,
            .devfn = MakeDevfn(device, function),
            .offset = static_cast<std::uint16_t>(offset)};
  }
  static ConfigAddress Host(std::size_t offset) { return At(0, 0, offset); }
  static ConfigAddress Lpc(std::size_t offset) { return At(0x1f, 0, offset); }
  template <class T>
  T Get(ConfigAddress at) {
    return q35_->root().Get<T>(at);
  }
  template <class T>
  void Set(ConfigAddress at, std::type_identity_t<T> value) {
    q35_->root().Set<T>(at, value);
  }
  std::uint32_t Memory32(std::uint64_t address) {
    std::array<std::byte, 4> data;
    memory_.Read(address, data);
    return LoadLe32(data);
  }
  // A function with a BAR of each kind.
  TestFunction* AttachDevice(unsigned device) {
    auto function = std::make_unique<TestFunction>();
    function->AddBar(0, BarKind::kMemory64, 0x4000, &bar_);
    function->AddBar(2, BarKind::kMemory32, 0x1000, &bar_);
    function->AddBar(3, BarKind::kIo, 0x40, &bar_);
    function->AddIntxPin(0);
    TestFunction* const attached = function.get();
    CHECK(q35_->Attach(device, std::move(function)).has_value());
    return attached;
  }

  IoBus memory_, ports_;
  testing::FakeIrqLines lines_;
  PamLog pam_;
  NumberHandler reset_{0x0e}, pm_{0x5a}, bar_{0x77};
  std::unique_ptr<Q35> q35_;
};

// ---- what is there ------------------------------------------------------------------------------

TEST_F(Q35Test, Identity_IsQ35sAndIch9s) {
  EXPECT_EQ(Get<std::uint32_t>(Host(0)), 0x29c0'8086u);
  EXPECT_EQ(Get<std::uint32_t>(Lpc(0)), 0x2918'8086u);
  EXPECT_EQ(Get<std::uint32_t>(Host(8)) >> 8, 0x060000u);
  EXPECT_EQ(Get<std::uint32_t>(Lpc(8)) >> 8, 0x060100u);
  EXPECT_EQ(Get<std::uint8_t>(Lpc(kHeaderType)), kHeaderMultifunction);
}

TEST_F(Q35Test, Attach_OutsideTheFreeDevices_IsAnError) {
  EXPECT_FALSE(q35_->Attach(0, std::make_unique<TestFunction>()).has_value());
  EXPECT_FALSE(q35_->Attach(0x1c, std::make_unique<TestFunction>()).has_value());
  EXPECT_TRUE(q35_->Attach(0x1b, std::make_unique<TestFunction>()).has_value());
}

TEST_F(Q35Test, Create_PortsTaken_FailsAndLeavesThemToTheirOwner) {
  IoBus ports;
  ASSERT_TRUE(ports.Map(0xcf8, 8, &reset_).has_value());
  EXPECT_FALSE(Q35::Create({.memory = &memory_, .ports = &ports, .lines = &lines_}).has_value());
  EXPECT_EQ(TestRoot::Peek(ports, 0xcf8), 0x0e);
}

// ---- PCIEXBAR -----------------------------------------------------------------------------------

TEST_F(Q35Test, PciExBar_WhenNew_IsOff) {
  EXPECT_EQ(Get<std::uint64_t>(Host(HostBridge::kPciExBar)), kEcam);
  EXPECT_EQ(Memory32(kEcam), 0xffff'ffffu);
}

TEST_F(Q35Test, PciExBar_Enabled_PutsTheEcamThere) {
  Set<std::uint32_t>(Host(HostBridge::kPciExBar), 0xe000'0001);
  EXPECT_EQ(Memory32(0xe000'0000), 0x29c0'8086u);
  EXPECT_EQ(Memory32(0xe00f'8000), 0x2918'8086u);
  EXPECT_EQ(Memory32(0xefff'fffc), 0xffff'ffffu);
}

TEST_F(Q35Test, PciExBar_MovedThroughTheEcamItself_Moves) {
  Set<std::uint32_t>(Host(HostBridge::kPciExBar), 0xe000'0001);
  std::array<std::byte, 4> data;
  StoreLe(std::span(data), 0, 0xd000'0001u);
  memory_.Write(0xe000'0060, data);
  EXPECT_EQ(Memory32(0xe000'0000), 0xffff'ffffu);
  EXPECT_EQ(Memory32(0xd000'0000), 0x29c0'8086u);
}

TEST_F(Q35Test, PciExBar_Length_CutsTheBuses) {
  Set<std::uint32_t>(Host(HostBridge::kPciExBar), 0xe400'0005);
  EXPECT_EQ(Memory32(0xe400'0000), 0x29c0'8086u);
  std::array<std::byte, 1> data;
  EXPECT_TRUE(memory_.Read(0xe7ff'ffff, data));
  EXPECT_FALSE(memory_.Read(0xe800'0000, data));
  Set<std::uint32_t>(Host(HostBridge::kPciExBar), 0xe400'0007);
  EXPECT_FALSE(memory_.Read(0xe400'0000, data));
}

TEST_F(Q35Test, PciExBar_ABarAlreadyThere_StaysUntilItMoves) {
  AttachDevice(1);
  Set<std::uint32_t>(At(1, 0, 0x18), 0xb000'0000);
  Set<std::uint16_t>(At(1, 0, kCommand), kCommandMemory);
  Set<std::uint32_t>(Host(HostBridge::kPciExBar), 0xb000'0001);
  EXPECT_EQ(Memory32(0xb000'0000), 0x77u);
  Set<std::uint32_t>(At(1, 0, 0x18), 0xc000'0000);
  EXPECT_EQ(Memory32(0xb000'0000), 0x29c0'8086u);
}

// ---- other chipset registers --------------------------------------------------------------------

TEST_F(Q35Test, Pam_Written_TellsTheMachine) {
  Set<std::uint8_t>(Host(0x90), 0xff);
  Set<std::uint32_t>(Host(0x93), 0xffff'ffff);
  EXPECT_EQ(pam_.last, (PamRegisters{0x30, 0, 0, 0x33, 0x33, 0x33, 0x33}));
  const int calls = pam_.calls;
  Set<std::uint8_t>(Host(0x97), 1);
  EXPECT_EQ(pam_.calls, calls);
}

TEST_F(Q35Test, Pam_Reset_TellsTheMachine) {
  Set<std::uint8_t>(Host(0x91), 0x33);
  q35_->Reset();
  EXPECT_EQ(pam_.last, PamRegisters{});
}

TEST_F(Q35Test, PmBase_NeedsAcpiEnable) {
  Set<std::uint32_t>(Lpc(LpcBridge::kPmBase), 0x600);
  EXPECT_EQ(TestRoot::Peek(ports_, 0x600), 0xff);
  Set<std::uint8_t>(Lpc(LpcBridge::kAcpiControl), LpcBridge::kAcpiEnable);
  EXPECT_EQ(TestRoot::Peek(ports_, 0x600), 0x5a);
  EXPECT_EQ(TestRoot::Peek(ports_, 0x67f), 0x5a);
  Set<std::uint32_t>(Lpc(LpcBridge::kPmBase), 0xb000);
  EXPECT_EQ(TestRoot::Peek(ports_, 0x600), 0xff);
  EXPECT_EQ(TestRoot::Peek(ports_, 0xb000), 0x5a);
  EXPECT_EQ(Get<std::uint32_t>(Lpc(LpcBridge::kPmBase)), 0xb001u);
}

TEST_F(Q35Test, PmBase_OnAFixedDevice_IsNotThere) {
  ASSERT_TRUE(ports_.Map(0x600, 8, &reset_).has_value());
  Set<std::uint8_t>(Lpc(LpcBridge::kAcpiControl), LpcBridge::kAcpiEnable);
  Set<std::uint32_t>(Lpc(LpcBridge::kPmBase), 0x600);
  EXPECT_EQ(TestRoot::Peek(ports_, 0x600), 0x0e);
}

TEST_F(Q35Test, PirqRoute_Written_IsUsed) {
  TestFunction* const device = AttachDevice(1);  // INTA# is PIRQF
  device->SetIntx(true);
  Set<std::uint8_t>(Lpc(LpcBridge::kPirqE + 1), 11);
  EXPECT_EQ(lines_.up(), (std::set<std::uint32_t>{11, 21}));
  Set<std::uint8_t>(Lpc(LpcBridge::kPirqE + 1), 0xff);
  EXPECT_EQ(lines_.up(), (std::set<std::uint32_t>{21}));
  EXPECT_EQ(Get<std::uint8_t>(Lpc(LpcBridge::kPirqE + 1)), 0x8f);
}

TEST_F(Q35Test, Rcba_Enabled_ShowsTheInterruptRoutes) {
  Set<std::uint32_t>(Lpc(LpcBridge::kRcba), 0xfed1'c001);
  EXPECT_EQ(Memory32(0xfed1'c000 + 0x3140), 0x3210'3210u);
  EXPECT_EQ(Memory32(0xfed1'c000 + 0x3410), 0u);
  Set<std::uint32_t>(Lpc(LpcBridge::kRcba), 0xfed1'c000);
  EXPECT_EQ(Memory32(0xfed1'c000 + 0x3140), 0xffff'ffffu);
}

// ---- root ports ---------------------------------------------------------------------------------

TEST_F(Q35Test, RootPorts_AreEightWithDifferentSlots) {
  for (unsigned i = 0; i < 8; ++i) {
    EXPECT_EQ(Get<std::uint8_t>(At(0x1c, i, kHeaderType)), 0x81) << i;
    std::size_t at = Get<std::uint8_t>(At(0x1c, i, kCapabilities));
    while (at != 0 && Get<std::uint8_t>(At(0x1c, i, at)) != kCapExpress)
      at = Get<std::uint8_t>(At(0x1c, i, at + 1));
    ASSERT_NE(at, 0u);
    EXPECT_EQ(Get<std::uint16_t>(At(0x1c, i, at + kExpFlags)), 0x142);
    EXPECT_EQ(Get<std::uint32_t>(At(0x1c, i, at + kExpSlotCapabilities)) >> 19, i + 1);
    EXPECT_EQ(Get<std::uint16_t>(At(0x1c, i, at + kExpSlotStatus)), 0);
    EXPECT_EQ(Get<std::uint8_t>(At(0x1c, i, kInterruptPin)), i % 4 + 1);
  }
}

TEST_F(Q35Test, RootPort_Windows_KeepTheirBits) {
  const auto port = [](std::size_t offset) { return At(0x1c, 2, offset); };
  for (std::size_t at = 0x18; at < 0x34; at += 4) Set<std::uint32_t>(port(at), 0xffff'ffff);
  EXPECT_EQ(Get<std::uint32_t>(port(kPrimaryBus)), 0x00ff'ffffu);
  EXPECT_EQ(Get<std::uint32_t>(port(kIoBase)), 0x0000'f0f0u);
  EXPECT_EQ(Get<std::uint32_t>(port(kMemoryBase)), 0xfff0'fff0u);
  EXPECT_EQ(Get<std::uint32_t>(port(kPrefetchableBase)), 0xfff1'fff1u);
  EXPECT_EQ(Get<std::uint32_t>(port(kPrefetchableBaseHigh)), 0xffff'ffffu);
  EXPECT_EQ(Get<std::uint32_t>(port(0x30)), 0u);
  Set<std::uint16_t>(port(kBridgeControl), 0xffff);
  EXPECT_EQ(Get<std::uint16_t>(port(kBridgeControl)), 0x5f);
  EXPECT_EQ(Get<std::uint32_t>(port(kBar0)), 0u);
}

TEST_F(Q35Test, SecondaryBus_BehindARootPort_ReadsOnes) {
  ASSERT_TRUE(q35_->Program(kLayout).has_value());
  EXPECT_EQ(Get<std::uint8_t>(At(0x1c, 2, kSecondaryBus)), 3);
  EXPECT_EQ(Memory32(kEcam + (3ull << 20)), 0xffff'ffffu);
  Set<std::uint8_t>(At(0x1c, 2, kSecondaryBus), 0);
  Set<std::uint8_t>(At(0x1c, 2, kSubordinateBus), 0xff);
  EXPECT_EQ(Memory32(kEcam + (200ull << 20)), 0xffff'ffffu);
  EXPECT_EQ(Memory32(kEcam), 0x29c0'8086u);
}

// ---- Program ------------------------------------------------------------------------------------

TEST_F(Q35Test, Program_MovesEcamAndPmBlockToTheirPlaces) {
  ASSERT_TRUE(q35_->Program(kLayout).has_value());
  EXPECT_EQ(Memory32(kEcam), 0x29c0'8086u);
  EXPECT_EQ(TestRoot::Peek(ports_, 0x600), 0x5a);
  EXPECT_EQ(Get<std::uint32_t>(Host(HostBridge::kPciExBar)), 0xb000'0001u);
}

TEST_F(Q35Test, Program_MakesTheBiosAreaRam) {
  ASSERT_TRUE(q35_->Program(kLayout).has_value());
  EXPECT_EQ(pam_.last, (PamRegisters{0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33}));
}

TEST_F(Q35Test, Program_GivesBarsDifferentPlacesAndLeavesThemOff) {
  AttachDevice(1);
  AttachDevice(2);
  ASSERT_TRUE(q35_->Program(kLayout).has_value());
  EXPECT_EQ(Get<std::uint16_t>(At(1, 0, kCommand)), 0);
  EXPECT_NE(Get<std::uint32_t>(At(1, 0, 0x18)), Get<std::uint32_t>(At(2, 0, 0x18)));
  EXPECT_EQ(Get<std::uint32_t>(At(1, 0, 0x14)), 0x40u);
  for (const unsigned device : {1u, 2u}) {
    Set<std::uint16_t>(At(device, 0, kCommand), kCommandMemory | kCommandIo);
    EXPECT_EQ(Memory32(Get<std::uint32_t>(At(device, 0, 0x18))), 0x77u);
    const std::uint64_t high = std::uint64_t{Get<std::uint32_t>(At(device, 0, 0x14))} << 32;
    EXPECT_EQ(Memory32(high | (Get<std::uint32_t>(At(device, 0, 0x10)) & ~0xfu)), 0x77u);
    EXPECT_EQ(TestRoot::Peek(ports_, Get<std::uint32_t>(At(device, 0, 0x1c)) & ~3u), 0x77);
  }
}

TEST_F(Q35Test, Program_GivesRootPortsWindows) {
  ASSERT_TRUE(q35_->Program(kLayout).has_value());
  const std::uint32_t memory = Get<std::uint32_t>(At(0x1c, 0, kMemoryBase));
  const std::uint32_t other = Get<std::uint32_t>(At(0x1c, 1, kMemoryBase));
  EXPECT_EQ((memory >> 16) - (memory & 0xffff), 0x10u);  // the last of two MiB
  EXPECT_NE(memory, other);
  EXPECT_EQ(Get<std::uint16_t>(At(0x1c, 0, kIoBase)), 0x1010);
  EXPECT_EQ(Get<std::uint32_t>(At(0x1c, 0, kPrefetchableBaseHigh)), 0x40u);
}

TEST_F(Q35Test, Program_WithoutRoomForPorts_ClosesTheIoWindows) {
  Q35::Layout layout = kLayout;
  layout.resources.io = {0x1000, 0x1800};
  ASSERT_TRUE(q35_->Program(layout).has_value());
  EXPECT_EQ(Get<std::uint16_t>(At(0x1c, 0, kIoBase)), 0x1010);
  EXPECT_EQ(Get<std::uint16_t>(At(0x1c, 1, kIoBase)), 0x00f0);
}

TEST_F(Q35Test, Program_WithoutRoomForABar_NamesIt) {
  AttachDevice(1);
  Q35::Layout layout = kLayout;
  layout.resources.memory64 = {0x40'0000'0000, 8 * kPortPrefetchableWindow};
  const auto programmed = q35_->Program(layout);
  ASSERT_FALSE(programmed.has_value());
  EXPECT_EQ(programmed.error().message, "test: BAR 0: no room for 0x4000 bytes of memory");
}

TEST_F(Q35Test, Program_SetsInterruptLinesToTheRoutes) {
  AttachDevice(1);
  ASSERT_TRUE(q35_->Program(kLayout).has_value());
  EXPECT_EQ(Get<std::uint8_t>(At(1, 0, kInterruptLine)), 10);
  EXPECT_EQ(Get<std::uint32_t>(Lpc(LpcBridge::kPirqA)), 0x0b0b'0a0au);
  EXPECT_EQ(Get<std::uint8_t>(Host(kInterruptLine)), 0);
}

TEST_F(Q35Test, Reset_TakesEverythingBackAndProgramWorksAgain) {
  TestFunction* const device = AttachDevice(1);
  ASSERT_TRUE(q35_->Program(kLayout).has_value());
  q35_->Reset();
  EXPECT_EQ(device->resets, 1);
  EXPECT_EQ(Memory32(kEcam), 0xffff'ffffu);
  EXPECT_EQ(TestRoot::Peek(ports_, 0x600), 0xff);
  EXPECT_EQ(Get<std::uint32_t>(At(1, 0, 0x18)), 0u);
  ASSERT_TRUE(q35_->Program(kLayout).has_value());
  EXPECT_EQ(Memory32(kEcam), 0x29c0'8086u);
}

// ---- several vCPUs ------------------------------------------------------------------------------

TEST_F(Q35Test, BarMovedByOneThread_AnotherSeesTheDeviceOrNobody) {
  AttachDevice(1);
  Set<std::uint16_t>(At(1, 0, kCommand), kCommandMemory);
  std::atomic<bool> done = false;
  std::thread mover([&] {
    for (std::uint32_t i = 0; i < 3000; ++i)
      Set<std::uint32_t>(At(1, 0, 0x18), 0xc000'0000 + (i % 4) * 0x1000);
    done = true;
  });
  int wrong = 0;
  while (!done) {
    const std::uint32_t seen = Memory32(0xc000'1000);
    if (seen != 0x77 && seen != 0xffff'ffff) ++wrong;
  }
  mover.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(Memory32(0xc000'3000), 0x77u);
}

}  // namespace
}  // namespace gemel::pci
