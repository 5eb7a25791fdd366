#include "vmm/config/machine_config.h"

#include <gtest/gtest.h>

namespace gemel {
namespace {

class ValidateTest : public testing::Test {
 protected:
  ValidateTest() { config_.boot.kernel = "vmlinuz"; }
  std::string Problem() const {
    const Status status = Validate(config_);
    return status ? "" : status.error().message;
  }
  MachineConfig config_;
};

TEST_F(ValidateTest, DefaultsWithKernel_Ok) { EXPECT_EQ(Problem(), ""); }
TEST_F(ValidateTest, NoKernel_Refused) {
  config_.boot.kernel = "";
  EXPECT_EQ(Problem(), "kernel: missing: --kernel FILE");
}
TEST_F(ValidateTest, BadName_Refused) {
  for (const char* name : {"", "1web", "Web", "web_1", "-web", "wéb"}) {
    config_.name = name;
    EXPECT_NE(Problem(), "") << name;
  }
  config_.name = std::string(63, 'a');
  EXPECT_EQ(Problem(), "");
  config_.name = std::string(64, 'a');
  EXPECT_NE(Problem(), "");
}
TEST_F(ValidateTest, UnknownMachine_Refused) {
  config_.machine = "server-2";
  EXPECT_EQ(Problem(), "machine: server-2: unknown; profile server has server-1");
}
TEST_F(ValidateTest, DefaultProfile_IsServer) {
  EXPECT_EQ(config_.profile, Profile::kServer);
  EXPECT_EQ(config_.machine, DefaultMachine(Profile::kServer));
}
TEST_F(ValidateTest, MicroProfile_HasItsOwnType) {
  config_.profile = Profile::kMicro;
  EXPECT_EQ(Problem(), "machine: server-1: unknown; profile micro has micro-1");
  config_.machine = "micro-1";
  EXPECT_EQ(Problem(), "");
}
TEST_F(ValidateTest, MoreDisksThanPciHasPlaces_Refused) {
  config_.disks.assign(27, DiskConfig{.path = "d", .serial = ""});
  EXPECT_EQ(Problem(), "disk: 27 disks: more than this machine's 26 devices beside rng");
}
TEST_F(ValidateTest, ServerWithoutAcpi_Refused) {
  config_.acpi = false;
  EXPECT_EQ(Problem(), "acpi: off: profile server cannot do without; --profile micro can");
}
TEST_F(ValidateTest, SmbiosTextOfTheMicroProfile_Refused) {
  config_.identity.asset = "42";
  EXPECT_EQ(Problem(), "");
  config_.profile = Profile::kMicro;
  config_.machine = "micro-1";
  EXPECT_EQ(Problem(), "smbios: profile micro has none");
}
TEST_F(ValidateTest, SmbiosTextThatIsNotPrintable_Refused) {
  config_.identity.asset = "\n";
  EXPECT_NE(Problem(), "");
}
TEST_F(ValidateTest, CpusOutOfRange_Refused) {
  config_.cpus = 64;
  EXPECT_EQ(Problem(), "");
  config_.cpus = 65;
  EXPECT_EQ(Problem(), "cpus: 65: not from 1 to 64");
  config_.cpus = 0;
  EXPECT_EQ(Problem(), "cpus: 0: not from 1 to 64");
}
TEST_F(ValidateTest, MemoryTooSmall_Refused) {
  config_.memory.size = 15ull << 20;
  EXPECT_EQ(Problem(), "memory: 15M: less than the least, 16M");
}
TEST_F(ValidateTest, MemoryUneven_Refused) {
  config_.memory.size = (512ull << 20) + 1;
  EXPECT_EQ(Problem(), "memory: 536870913: not a multiple of 1M");
  config_.memory = {513ull << 20, false, true};
  EXPECT_EQ(Problem(), "memory: 513M: not a multiple of 2M");
}
TEST_F(ValidateTest, MemoryAbsurd_Refused) {
  config_.memory.size = 17ull << 40;
  EXPECT_EQ(Problem(), "memory: 17T: more than the most, 16T");
}
TEST_F(ValidateTest, BadCpuModel_Refused) {
  for (const char* model : {"", "a b", "a\nb", "../x"}) {
    config_.cpu_model = model;
    EXPECT_NE(Problem(), "") << model;
  }
}
TEST_F(ValidateTest, CmdlineTooLong_Refused) {
  config_.boot.cmdline = std::string(2047, 'x');
  EXPECT_EQ(Problem(), "");
  config_.boot.cmdline = std::string(2048, 'x');
  EXPECT_EQ(Problem(), "cmdline: 2048 bytes: more than 2047");
}
TEST_F(ValidateTest, ZeroByteOrLineBreak_Refused) {
  config_.boot.cmdline = std::string("a\0b", 3);
  EXPECT_EQ(Problem(), "cmdline: a zero byte or a line break in it");
  config_.boot.cmdline = "";
  config_.boot.initrd = std::string("a\0b", 3);
  EXPECT_EQ(Problem(), "initrd: a path with a zero byte");
}
TEST_F(ValidateTest, PathTooLong_Refused) {
  config_.boot.kernel = std::string(4096, 'k');
  EXPECT_EQ(Problem(), "kernel: a path of 4096 bytes: more than 4095");
}
TEST_F(ValidateTest, MoreDisksThanLines_Refused) {
  config_.profile = Profile::kMicro;
  config_.machine = "micro-1";
  config_.disks.assign(15, DiskConfig{.path = "d", .serial = ""});
  EXPECT_EQ(Problem(), "");
  config_.disks.assign(16, DiskConfig{.path = "d", .serial = ""});
  EXPECT_EQ(Problem(), "disk: 16 disks: more than this machine's 15 devices beside rng");
  config_.rng = false;
  EXPECT_EQ(Problem(), "");
}
TEST_F(ValidateTest, BadDiskSerial_Refused) {
  config_.disks = {DiskConfig{.path = "d", .serial = std::string(20, 's')}};
  EXPECT_EQ(Problem(), "");
  config_.disks[0].serial = std::string(21, 's');
  EXPECT_NE(Problem(), "");
  config_.disks[0].serial = "\x7f";
  EXPECT_NE(Problem(), "");
}
TEST_F(ValidateTest, SerialPathMissingOrTooMuch_Refused) {
  config_.serial = {SerialConfig::Kind::kFile, ""};
  EXPECT_NE(Problem(), "");
  config_.serial = {SerialConfig::Kind::kStdio, "x"};
  EXPECT_NE(Problem(), "");
  config_.serial = {SerialConfig::Kind::kUnix, std::string(107, 's')};
  EXPECT_EQ(Problem(), "");
  config_.serial.path += 's';
  EXPECT_NE(Problem(), "");
}

}  // namespace
}  // namespace gemel
