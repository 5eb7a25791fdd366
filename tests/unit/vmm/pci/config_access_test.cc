#include "vmm/pci/config_access.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/pci/test_function.h"

namespace gemel::pci {
namespace {

constexpr std::uint16_t kAddressPort = 0xcf8, kDataPort = 0xcfc;
constexpr std::uint32_t kEnable = 0x8000'0000;
constexpr std::uint64_t kEcam = 0xb000'0000;

// One function at 00:03.0 with two registers at 0x40 and 0x44 that take everything.
class ConfigAccessTest : public ::testing::Test {
 protected:
  ConfigAccessTest() {
    auto function = std::make_unique<TestFunction>();
    function->config().Define<std::uint32_t>(0x40, 0x4433'2211, 0xffff'ffff);
    function->config().Define<std::uint32_t>(0x44, 0x8877'6655, 0xffff'ffff);
    bus_.Attach(3, std::move(function));
    CHECK(bus_.ports.Map(ConfigPorts::kFirstPort, ConfigPorts::kPorts, &ports_).has_value());
    CHECK(bus_.memory.Map(kEcam, EcamHandler::kMaxSize, &ecam_).has_value());
  }

  template <class T>
  static T Read(const IoBus& bus, std::uint64_t at) {
    std::array<std::byte, sizeof(T)> data;
    bus.Read(at, data);
    return LoadLe<T>(data);
  }
  template <class T>
  static void Write(const IoBus& bus, std::uint64_t at, std::type_identity_t<T> value) {
    std::array<std::byte, sizeof(T)> data;
    StoreLe<T>(std::span(data), 0, value);
    bus.Write(at, data);
  }
  template <class T>
  T In(std::uint16_t port) {
    return Read<T>(bus_.ports, port);
  }
  template <class T>
  void Out(std::uint16_t port, std::type_identity_t<T> value) {
    Write<T>(bus_.ports, port, value);
  }
  void Select(std::uint32_t bus, unsigned device, std::uint32_t offset) {
    Out<std::uint32_t>(kAddressPort, kEnable | bus << 16 | device << 11 | offset);
  }
  static std::uint64_t Ecam(unsigned bus, unsigned device, std::uint64_t offset) {
    return kEcam + (std::uint64_t{bus} << 20 | device << 15 | offset);
  }

  TestRoot bus_;
  NumberHandler reset_{0x0e};
  ConfigPorts ports_{&bus_.root, &reset_};
  EcamHandler ecam_{&bus_.root};
};

// ---- CONFIG_ADDRESS and CONFIG_DATA -------------------------------------------------------------

TEST_F(ConfigAccessTest, Address_DwordWritten_ReadsBackWithoutReservedBits) {
  Out<std::uint32_t>(kAddressPort, 0xffff'ffff);
  EXPECT_EQ(In<std::uint32_t>(kAddressPort), 0x80ff'fffcu);
}

TEST_F(ConfigAccessTest, Address_OtherWidths_AreNotItsOwn) {
  Select(0, 3, 0x40);
  Out<std::uint8_t>(kAddressPort, 0);
  Out<std::uint16_t>(kAddressPort, 0);
  Out<std::uint8_t>(kAddressPort + 3, 0);
  EXPECT_EQ(In<std::uint32_t>(kAddressPort), kEnable | 3u << 11 | 0x40);
  EXPECT_EQ(In<std::uint8_t>(kAddressPort), 0xff);
  EXPECT_EQ(In<std::uint16_t>(kAddressPort + 2), 0xffff);
}

TEST_F(ConfigAccessTest, ResetPort_OneByteInTheMiddle_IsTheResetRegister) {
  EXPECT_EQ(In<std::uint8_t>(0xcf9), 0x0e);
  Out<std::uint8_t>(0xcf9, 6);
  EXPECT_EQ(reset_.last_written, 6u);
  reset_.last_written = 0;
  Out<std::uint32_t>(kAddressPort, 0x8000'0600);
  Out<std::uint16_t>(0xcf9, 6);
  EXPECT_EQ(reset_.last_written, 0u);
}

TEST_F(ConfigAccessTest, Data_EveryWidthAndByte_IsTheSelectedRegisters) {
  Select(0, 3, 0x40);
  EXPECT_EQ(In<std::uint32_t>(kDataPort), 0x4433'2211u);
  EXPECT_EQ(In<std::uint16_t>(kDataPort + 2), 0x4433);
  EXPECT_EQ(In<std::uint8_t>(kDataPort + 3), 0x44);
  Out<std::uint8_t>(kDataPort + 1, 0xaa);
  Out<std::uint16_t>(kDataPort + 2, 0xccbb);
  EXPECT_EQ(In<std::uint32_t>(kDataPort), 0xccbb'aa11u);
}

TEST_F(ConfigAccessTest, Data_UnalignedWithinTheDword_Works) {
  Select(0, 3, 0x40);
  EXPECT_EQ(In<std::uint16_t>(kDataPort + 1), 0x3322);
}

TEST_F(ConfigAccessTest, Data_PastThePorts_ReachesNobody) {
  Select(0, 3, 0x40);
  EXPECT_EQ(In<std::uint32_t>(kDataPort + 1), 0xffff'ffffu);
}

TEST_F(ConfigAccessTest, Data_NotEnabled_ReadsOnesAndWritesNothing) {
  Out<std::uint32_t>(kAddressPort, 3u << 11 | 0x40);
  EXPECT_EQ(In<std::uint32_t>(kDataPort), 0xffff'ffffu);
  Out<std::uint32_t>(kDataPort, 0);
  Select(0, 3, 0x40);
  EXPECT_EQ(In<std::uint32_t>(kDataPort), 0x4433'2211u);
}

TEST_F(ConfigAccessTest, Data_WhereNoFunctionIs_ReadsOnes) {
  Select(0, 4, 0);
  EXPECT_EQ(In<std::uint32_t>(kDataPort), 0xffff'ffffu);
  Select(1, 3, 0);
  EXPECT_EQ(In<std::uint16_t>(kDataPort), 0xffff);
}

TEST_F(ConfigAccessTest, Reset_ClearsTheAddress) {
  Select(0, 3, 0x40);
  ports_.Reset();
  EXPECT_EQ(In<std::uint32_t>(kAddressPort), 0u);
}

// ---- ECAM ---------------------------------------------------------------------------------------

TEST_F(ConfigAccessTest, Ecam_EveryWidth_IsTheRegisters) {
  EXPECT_EQ(Read<std::uint32_t>(bus_.memory, Ecam(0, 3, 0x40)), 0x4433'2211u);
  EXPECT_EQ(Read<std::uint16_t>(bus_.memory, Ecam(0, 3, 0x42)), 0x4433);
  EXPECT_EQ(Read<std::uint8_t>(bus_.memory, Ecam(0, 3, 0x41)), 0x22);
  Write<std::uint8_t>(bus_.memory, Ecam(0, 3, 0x41), 0xaa);
  EXPECT_EQ(Read<std::uint32_t>(bus_.memory, Ecam(0, 3, 0x40)), 0x4433'aa11u);
}

TEST_F(ConfigAccessTest, Ecam_EightBytes_AreTwoDwords) {
  EXPECT_EQ(Read<std::uint64_t>(bus_.memory, Ecam(0, 3, 0x40)), 0x8877'6655'4433'2211u);
  Write<std::uint64_t>(bus_.memory, Ecam(0, 3, 0x40), 0x0102'0304'0506'0708);
  EXPECT_EQ(Read<std::uint32_t>(bus_.memory, Ecam(0, 3, 0x44)), 0x0102'0304u);
}

TEST_F(ConfigAccessTest, Ecam_UnalignedOverTwoDwords_IsMadeInPieces) {
  EXPECT_EQ(Read<std::uint32_t>(bus_.memory, Ecam(0, 3, 0x42)), 0x6655'4433u);
  Write<std::uint16_t>(bus_.memory, Ecam(0, 3, 0x43), 0xbbaa);
  EXPECT_EQ(Read<std::uint64_t>(bus_.memory, Ecam(0, 3, 0x40)), 0x8877'66bb'aa33'2211u);
}

TEST_F(ConfigAccessTest, Ecam_OverTheEndOfAFunction_ReachesTheNext) {
  EXPECT_EQ(Read<std::uint32_t>(bus_.memory, Ecam(0, 3, 0xffe)), 0xffff'0000u);
  EXPECT_EQ(Read<std::uint32_t>(bus_.memory, Ecam(0, 3, 0) - 2), 0x1234'ffffu);
}

TEST_F(ConfigAccessTest, Ecam_WhereNoFunctionIs_ReadsOnes) {
  EXPECT_EQ(Read<std::uint32_t>(bus_.memory, Ecam(0, 2, 0)), 0xffff'ffffu);
  EXPECT_EQ(Read<std::uint32_t>(bus_.memory, Ecam(255, 31, 0xffc)), 0xffff'ffffu);
  Write<std::uint32_t>(bus_.memory, Ecam(7, 3, 0x40), 0);
  EXPECT_EQ(Read<std::uint32_t>(bus_.memory, Ecam(0, 3, 0x40)), 0x4433'2211u);
}

TEST_F(ConfigAccessTest, BothWays_Agree) {
  Select(0, 3, 0x44);
  Out<std::uint32_t>(kDataPort, 0xdead'beef);
  EXPECT_EQ(Read<std::uint32_t>(bus_.memory, Ecam(0, 3, 0x44)), 0xdead'beefu);
  for (std::uint32_t offset = 0; offset < 256; offset += 4) {
    Select(0, 3, offset);
    EXPECT_EQ(In<std::uint32_t>(kDataPort), Read<std::uint32_t>(bus_.memory, Ecam(0, 3, offset)));
  }
}

}  // namespace
}  // namespace gemel::pci
