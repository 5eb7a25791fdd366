#include <fcntl.h>
#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>

#include "base/check.h"
#include "base/load_le.h"
#include "tests/unit/vmm/arch/golden_file.h"
#include "vmm/arch/x86/acpi/tables.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/memory_map.h"
#include "vmm/pci/intx.h"

namespace gemel {
namespace {

using ::testing::HasSubstr;
using x86::AcpiConfig;
using x86::AcpiTables;

AcpiConfig Server(std::uint32_t cpus) {
  return {.cpus = cpus,
          .mmio_devices = 0,
          .machine = x86::AcpiMachine::kServer1,
          .pci_memory64 = x86::PciMemory64(4ull << 30)};
}

AcpiTables Build(const AcpiConfig& config) {
  auto tables = x86::BuildAcpiTables(config, x86::kAcpiTables);
  CHECK(tables.has_value());
  return *std::move(tables);
}

std::span<const std::uint8_t> TableOf(const AcpiTables& tables, std::string_view signature) {
  for (const AcpiTables::Table& table : tables.tables) {
    if (table.signature == signature)
      return std::span(tables.bytes).subspan(table.offset, table.size);
  }
  return {};
}

std::uint8_t Sum(std::span<const std::uint8_t> bytes) {
  std::uint8_t sum = 0;
  for (const std::uint8_t byte : bytes) sum = static_cast<std::uint8_t>(sum + byte);
  return sum;
}

TEST(AcpiTablesTest, Rsdp_SumsToZeroAndLeadsToEveryTable) {
  const AcpiTables tables = Build({.cpus = 2, .mmio_devices = 3});
  const auto bytes = std::as_bytes(std::span(tables.bytes));
  EXPECT_EQ(std::memcmp(bytes.data(), "RSD PTR ", 8), 0);
  EXPECT_EQ(Sum(std::span(tables.bytes).first(20)), 0);
  EXPECT_EQ(Sum(std::span(tables.bytes).first(36)), 0);
  const std::uint64_t xsdt = LoadLe64(bytes, 24) - x86::kAcpiTables;
  EXPECT_EQ(std::memcmp(bytes.data() + xsdt, "XSDT", 4), 0);
  const std::uint64_t fadt = LoadLe64(bytes, xsdt + 36) - x86::kAcpiTables;
  EXPECT_EQ(std::memcmp(bytes.data() + fadt, "FACP", 4), 0);
  EXPECT_EQ(std::memcmp(bytes.data() + LoadLe64(bytes, xsdt + 44) - x86::kAcpiTables, "APIC", 4),
            0);
  EXPECT_EQ(std::memcmp(bytes.data() + LoadLe64(bytes, fadt + 140) - x86::kAcpiTables, "DSDT", 4),
            0);
  const std::uint32_t facs = LoadLe32(bytes, fadt + 36);
  EXPECT_EQ(facs % 64, 0u);
  EXPECT_EQ(std::memcmp(bytes.data() + facs - x86::kAcpiTables, "FACS", 4), 0);
}

TEST(AcpiTablesTest, EveryTable_SumsToZero) {
  const AcpiTables tables = Build({.cpus = 64, .mmio_devices = 16});
  for (const AcpiTables::Table& table : tables.tables) {
    if (table.signature == "FACS") continue;  // has no checksum
    EXPECT_EQ(Sum(TableOf(tables, table.signature)), 0) << table.signature;
  }
}

TEST(AcpiTablesTest, EveryTableOfTheServer_SumsToZero) {
  const AcpiTables tables = Build(Server(64));
  EXPECT_LT(tables.bytes.size(), 16u << 10);
  for (const AcpiTables::Table& table : tables.tables) {
    if (table.signature == "FACS") continue;
    EXPECT_EQ(Sum(TableOf(tables, table.signature)), 0) << table.signature;
  }
}

TEST(AcpiTablesTest, SixtyFourCpusAndAllDevices_FitInTheirArea) {
  EXPECT_LT(Build({.cpus = 64, .mmio_devices = 16}).bytes.size(), 16u << 10);
}

TEST(AcpiTablesTest, MoreDevicesThanPlaces_IsRefused) {
  const auto tables = x86::BuildAcpiTables({.cpus = 1, .mmio_devices = 17}, x86::kAcpiTables);
  ASSERT_FALSE(tables);
  EXPECT_EQ(tables.error().message, "17 devices: the machine has places for 16");
}

TEST(AcpiTablesTest, MoreCpusThanFit_IsRefused) {
  EXPECT_FALSE(x86::BuildAcpiTables({.cpus = 4096, .mmio_devices = 0}, x86::kAcpiTables));
}

TEST(AcpiTablesTest, CpuFrom255On_HasAnX2ApicEntry) {
  const AcpiTables tables = Build({.cpus = 256, .mmio_devices = 0});
  const auto madt = TableOf(tables, "APIC");
  EXPECT_EQ(madt[44 + 254 * 8], 0);
  EXPECT_EQ(madt[44 + 255 * 8], 9);
}

TEST(AcpiTablesTest, Write_PutsTheRsdpWhereKernelsLook) {
  const MemoryRange ranges[] = {{GuestAddress{0}, 2 << 20}};
  const auto memory = GuestMemory::Create(ranges, MemoryBacking::kAnonymous);
  ASSERT_TRUE(memory);
  const auto rsdp = x86::WriteAcpiTables(**memory, {.cpus = 1, .mmio_devices = 1});
  ASSERT_TRUE(rsdp);
  EXPECT_EQ(rsdp->value, x86::kAcpiTables);
  char magic[8];
  ASSERT_TRUE((*memory)->ReadBytes(*rsdp, std::as_writable_bytes(std::span(magic))));
  EXPECT_EQ(std::memcmp(magic, "RSD PTR ", 8), 0);
}

// ---- guest ABI ----------------------------------------------------------------------------------

// A machine type's tables are what its guests have installed drivers for: if this fails, the
// change belongs in a new machine type.
TEST(AcpiTablesTest, Micro1_IsWhatItAlwaysWas) {
  const AcpiTables tables = Build({.cpus = 2, .mmio_devices = 16});
  const std::string bytes(tables.bytes.begin(), tables.bytes.end());
  EXPECT_TRUE(testing::IsGolden(GOLDEN_FOLDER "/micro-1.acpi", bytes));
}

TEST(AcpiTablesTest, Server1_IsWhatItAlwaysWas) {
  const AcpiTables tables = Build(Server(2));
  const std::string bytes(tables.bytes.begin(), tables.bytes.end());
  EXPECT_TRUE(testing::IsGolden(GOLDEN_FOLDER "/server-1.acpi", bytes));
}

// ---- what iasl says -----------------------------------------------------------------------------

class IaslTest : public ::testing::Test {
 protected:
  IaslTest() {
    char name[] = "/tmp/gemel-acpi-XXXXXX";
    CHECK(mkdtemp(name) != nullptr);
    folder_ = name;
  }
  ~IaslTest() override { std::filesystem::remove_all(folder_); }

  // Disassembles the table, compiles that again, and returns what iasl said the second time.
  std::string RoundTrip(const std::string& name, std::span<const std::uint8_t> table) {
    std::ofstream(folder_ / (name + ".aml"), std::ios::binary)
        << std::string(table.begin(), table.end());
    Run(name + ".aml", "-d");
    return Run(name + ".dsl", "-p out");
  }
  std::string Source(const std::string& name) {
    return testing::ReadAll(folder_ / (name + ".dsl"));
  }

  std::filesystem::path folder_;

 private:
  std::string Run(const std::string& file, const std::string& flags) {
    const std::string command =
        "cd " + folder_.string() + " && iasl " + flags + " " + file + " >log 2>&1";
    const int status = system(command.c_str());
    const std::string log = testing::ReadAll(folder_ / "log");
    EXPECT_EQ(status, 0) << log;
    return log;
  }
};

bool HaveIasl() { return system("iasl -v >/dev/null 2>&1") == 0; }

TEST_F(IaslTest, EveryTable_CompilesAgainWithoutAWarning) {
  if (!HaveIasl()) GTEST_SKIP() << "iasl is not installed (apt install acpica-tools)";
  const AcpiTables tables = Build({.cpus = 64, .mmio_devices = 16});
  for (const AcpiTables::Table& table : tables.tables) {
    const std::string log = RoundTrip(table.signature, TableOf(tables, table.signature));
    EXPECT_THAT(log, HasSubstr("0 Errors, 0 Warnings")) << table.signature;
  }
}

TEST_F(IaslTest, EveryTableOfTheServer_CompilesAgainWithoutAWarning) {
  if (!HaveIasl()) GTEST_SKIP() << "iasl is not installed (apt install acpica-tools)";
  const AcpiTables tables = Build(Server(64));
  for (const AcpiTables::Table& table : tables.tables) {
    const std::string log = RoundTrip(table.signature, TableOf(tables, table.signature));
    EXPECT_THAT(log, HasSubstr("0 Errors, 0 Warnings")) << table.signature;
  }
}

TEST_F(IaslTest, DsdtOfTheServer_SaysWhatThereIs) {
  if (!HaveIasl()) GTEST_SKIP() << "iasl is not installed (apt install acpica-tools)";
  RoundTrip("DSDT", TableOf(Build(Server(1)), "DSDT"));
  const std::string source = Source("DSDT");
  EXPECT_THAT(source, HasSubstr("EisaId (\"PNP0A08\")"));
  EXPECT_THAT(source, HasSubstr("ToUUID (\"33db4d5b-1ff7-401c-9657-7441c03dd766\")"));
  EXPECT_THAT(source, HasSubstr("\"QEMU0001\""));
  EXPECT_THAT(source, HasSubstr("WordBusNumber (ResourceProducer, MinFixed, MaxFixed"));
  EXPECT_THAT(source, HasSubstr("0x0000000FFFFFFFFF, // Range Maximum"));
  EXPECT_THAT(source, HasSubstr("0xFEBFFFFF"));
  EXPECT_THAT(source, HasSubstr("Name (_ADR, 0x001F0000)"));
}

TEST_F(IaslTest, Mcfg_NamesTheEcamAndAllBuses) {
  if (!HaveIasl()) GTEST_SKIP() << "iasl is not installed (apt install acpica-tools)";
  RoundTrip("MCFG", TableOf(Build(Server(1)), "MCFG"));
  const std::string source = Source("MCFG");
  EXPECT_THAT(source, HasSubstr("Base Address : 00000000B0000000"));
  EXPECT_THAT(source, HasSubstr("End Bus Number : FF"));
}

TEST_F(IaslTest, FadtOfTheServer_HasTimerGpesAndButtons) {
  if (!HaveIasl()) GTEST_SKIP() << "iasl is not installed (apt install acpica-tools)";
  RoundTrip("FACP", TableOf(Build(Server(1)), "FACP"));
  const std::string source = Source("FACP");
  EXPECT_THAT(source, HasSubstr("PM Timer Block Address : 00000608"));
  EXPECT_THAT(source, HasSubstr("GPE0 Block Address : 00000620"));
  EXPECT_THAT(source, HasSubstr("GPE0 Block Length : 10"));
  EXPECT_THAT(source, HasSubstr("Control Method Power Button (V1) : 0"));
  EXPECT_THAT(source, HasSubstr("Control Method Sleep Button (V1) : 0"));
}

// _PRT must say what vmm/pci does.
TEST_F(IaslTest, InterruptRouting_IsTheChipSets) {
  if (!HaveIasl()) GTEST_SKIP() << "iasl is not installed (apt install acpica-tools)";
  RoundTrip("DSDT", TableOf(Build(Server(1)), "DSDT"));
  std::string source = Source("DSDT");
  std::erase_if(source, [](char c) { return c == ' ' || c == '\n'; });
  const auto number = [](std::uint64_t value) {
    if (value == 0) return std::string("Zero");
    if (value == 1) return std::string("One");
    return fmt::format("0x{:0{}X}", value, value <= 0xff ? 2 : value <= 0xffff ? 4 : 8);
  };
  for (unsigned device = 0; device < 32; ++device) {
    for (unsigned pin = 0; pin < 4; ++pin) {
      const std::string entry =
          fmt::format("{{{},{},Zero,{}}}", number(std::uint64_t{device} << 16 | 0xffff),
                      number(pin), number(pci::IntxGsi(device, pin)));
      EXPECT_THAT(source, HasSubstr(entry));
    }
  }
}

TEST_F(IaslTest, Dsdt_SaysWhatThereIs) {
  if (!HaveIasl()) GTEST_SKIP() << "iasl is not installed (apt install acpica-tools)";
  const AcpiTables tables = Build({.cpus = 1, .mmio_devices = 1});
  RoundTrip("DSDT", TableOf(tables, "DSDT"));
  const std::string source = Source("DSDT");
  EXPECT_THAT(source, HasSubstr("\"LNRO0005\""));
  EXPECT_THAT(source, HasSubstr("0xD0000000"));
  EXPECT_THAT(source, HasSubstr("Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive"));
  EXPECT_THAT(source, HasSubstr("0x00000010"));
  EXPECT_THAT(source, HasSubstr("EisaId (\"PNP0501\")"));
  EXPECT_THAT(source, HasSubstr("EisaId (\"PNP0B00\")"));
  EXPECT_THAT(source, HasSubstr("\"ACPI0007\""));
}

TEST_F(IaslTest, Fadt_SaysHowToPowerOffAndReset) {
  if (!HaveIasl()) GTEST_SKIP() << "iasl is not installed (apt install acpica-tools)";
  RoundTrip("FACP", TableOf(Build({.cpus = 1, .mmio_devices = 0}), "FACP"));
  const std::string source = Source("FACP");
  EXPECT_THAT(source, HasSubstr("Reset Register Supported (V2) : 1"));
  EXPECT_THAT(source, HasSubstr("Value to cause reset : 06"));
  EXPECT_THAT(source, HasSubstr("Hardware Reduced (V5) : 0"));
  EXPECT_THAT(source, HasSubstr("Control Method Power Button (V1) : 0"));
  EXPECT_THAT(source, HasSubstr("8042 Present on ports 60/64 (V2) : 0"));
  EXPECT_THAT(source, HasSubstr("CMOS RTC Not Present (V5) : 0"));
  EXPECT_THAT(source, HasSubstr("SCI Interrupt : 0009"));
}

}  // namespace
}  // namespace gemel
