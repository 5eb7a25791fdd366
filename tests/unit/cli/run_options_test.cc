#include "cli/run_options.h"

#include <gtest/gtest.h>

#include <vector>

namespace gemel::cli {
namespace {

using Words = std::vector<std::string>;

RunOptions Parse(const Words& words) {
  auto parsed = ParseRunOptions(words);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed ? std::get<RunOptions>(*parsed) : RunOptions{};
}
// Without the hint behind the zero byte.
std::string Problem(const Words& words) {
  const auto parsed = ParseRunOptions(words);
  return parsed ? "" : std::string(parsed.error().message.c_str());
}

TEST(RunOptions, KernelAlone_TheRestDefault) {
  MachineConfig expected;
  expected.boot.kernel = "vmlinuz";
  expected.boot.cmdline = "console=ttyS0";
  const RunOptions options = Parse({"--kernel", "vmlinuz"});
  EXPECT_EQ(options.config, expected);
  EXPECT_EQ(options.timeout_ms, std::nullopt);
}
TEST(RunOptions, EveryOption_ItsField) {
  const RunOptions options = Parse({"--kernel=k",
                                    "--initrd",
                                    "i",
                                    "--cmdline",
                                    "-a [b] c=d,e",
                                    "--memory",
                                    "1G,shared=on",
                                    "--cpus",
                                    "4",
                                    "--cpu",
                                    "x86-64-v2",
                                    "--disk",
                                    "path=a,readonly=on",
                                    "--disk",
                                    "path=[b]",
                                    "--serial",
                                    "file:f",
                                    "--on-reboot",
                                    "exit",
                                    "--timeout",
                                    "10m",
                                    "--name",
                                    "web",
                                    "--profile",
                                    "micro",
                                    "--machine",
                                    "micro-1",
                                    "--acpi",
                                    "off",
                                    "--rng",
                                    "off",
                                    "--log-level",
                                    "error"});
  MachineConfig expected;
  expected.name = "web";
  expected.machine = "micro-1";
  expected.profile = Profile::kMicro;
  expected.cpus = 4;
  expected.cpu_model = "x86-64-v2";
  expected.memory = {1ull << 30, true, false};
  expected.boot = {"k", "i", "-a [b] c=d,e"};
  expected.acpi = false;
  expected.disks = {DiskConfig{.path = "a", .readonly = true, .serial = ""},
                    DiskConfig{.path = "[b]", .serial = ""}};
  expected.rng = false;
  expected.serial = {SerialConfig::Kind::kFile, "f"};
  expected.on_reboot = OnReboot::kExit;
  EXPECT_EQ(options.config, expected);
  EXPECT_EQ(options.timeout_ms, 600'000);
  EXPECT_EQ(options.log_level, LogLevel::kError);
}
TEST(RunOptions, Server_HasItsMachineTypeAndIdentity) {
  const MachineConfig config =
      Parse({"-k", "k", "--profile", "server", "--uuid", "00112233-4455-6677-8899-aabbccddeeff",
             "--smbios", "product=p,serial=s", "--smbios", "asset=a"})
          .config;
  EXPECT_EQ(config.profile, Profile::kServer);
  EXPECT_EQ(config.machine, "server-1");
  EXPECT_EQ(config.identity.uuid[15], 0xff);
  EXPECT_EQ(config.identity.product, "p");
  EXPECT_EQ(config.identity.serial, "s");
  EXPECT_EQ(config.identity.asset, "a");
}
TEST(RunOptions, EmptyCmdline_IsEmpty) {
  EXPECT_EQ(Parse({"-k", "k", "--cmdline", ""}).config.boot.cmdline, "");
}
TEST(RunOptions, Verbose_LogsEverything) {
  EXPECT_EQ(Parse({"-k", "k", "-v"}).log_level, LogLevel::kDebug);
}
TEST(RunOptions, Help_TextBeginsWithExamples) {
  const auto parsed = ParseRunOptions(Words{"--help"});
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(std::get<HelpText>(*parsed).text.starts_with("Examples:\n  gemel run "));
}
TEST(RunOptions, WrongInput_OneLine) {
  EXPECT_EQ(Problem({}), "kernel: missing: --kernel FILE");
  EXPECT_EQ(Problem({"-k"}), "--kernel: its value is missing");
  EXPECT_EQ(Problem({"-k", "a", "-k", "b"}), "--kernel: given more than once");
  EXPECT_EQ(Problem({"-k", "a", "b"}), "b: an argument too many");
  EXPECT_EQ(Problem({"-k", "a", "--disk", "path=b", "path=c"}), "path=c: an argument too many");
  EXPECT_EQ(Problem({"-k", "a", "--dsik", "path=b"}),
            "--dsik: unknown option; did you mean --disk?");
  EXPECT_EQ(Problem({"-k", "a", "--xyzzy=1"}), "--xyzzy: unknown option");
  EXPECT_EQ(Problem({"-k", "a", "-Z"}), "-Z: unknown option");
  EXPECT_EQ(Problem({"-k", "a", "--log-level", "loud"}),
            "log-level: loud: unknown; there is debug, info, warning, error");
  EXPECT_EQ(Problem({"-k", "a", "--name", "Web"}),
            "name: Web: not 1 to 63 of a-z, 0-9 and -, beginning with a letter");
  EXPECT_EQ(Problem({"-k", "a", "--acpi", "maybe"}), "acpi: maybe: not on or off");
}

}  // namespace
}  // namespace gemel::cli
