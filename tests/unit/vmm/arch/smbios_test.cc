#include "vmm/arch/x86/smbios.h"

#include <gmock/gmock.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <span>
#include <string>

#include "base/check.h"
#include "base/load_le.h"
#include "tests/unit/vmm/arch/golden_file.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/memory_map.h"

namespace gemel {
namespace {

using ::testing::HasSubstr;

x86::SmbiosConfig Config() {
  x86::SmbiosConfig config;
  config.identity.uuid = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                          0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
  config.identity.product = "Web server";
  config.identity.serial = "S-1";
  config.identity.asset = "A-42";
  config.cpus = 2;
  config.ram = x86::ServerRam(4ull << 30);
  return config;
}

std::vector<std::uint8_t> Build(const x86::SmbiosConfig& config) {
  return x86::BuildSmbios(config, x86::kSmbios);
}

TEST(SmbiosTest, EntryPoint_SumsToZeroAndNamesTheTable) {
  const auto bytes = Build(Config());
  const auto view = std::as_bytes(std::span(bytes));
  EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 5), "_SM3_");
  std::uint8_t sum = 0;
  for (std::size_t i = 0; i < bytes[6]; ++i) sum = static_cast<std::uint8_t>(sum + bytes[i]);
  EXPECT_EQ(sum, 0);
  EXPECT_EQ(LoadLe64(view, 16), x86::kSmbios + 32);
  EXPECT_EQ(LoadLe32(view, 12), bytes.size() - 32);
}

// Walks the structures as a reader does.
TEST(SmbiosTest, Structures_FollowOneAnotherToTheEnd) {
  const auto bytes = Build(Config());
  std::vector<int> types;
  std::size_t at = 32;
  while (at + 4 <= bytes.size()) {
    types.push_back(bytes[at]);
    at += bytes[at + 1];
    while (bytes[at] != 0 || bytes[at + 1] != 0) ++at;
    at += 2;
  }
  EXPECT_EQ(at, bytes.size());
  EXPECT_EQ(types, (std::vector<int>{0, 1, 3, 4, 16, 17, 19, 19, 32, 127}));
}

TEST(SmbiosTest, LongestTexts_Fit) {
  x86::SmbiosConfig config = Config();
  config.identity.product = config.identity.serial = config.identity.asset =
      std::string(kMaxIdentityBytes, 'x');
  EXPECT_LT(Build(config).size(), 4096u);
}

TEST(SmbiosTest, Write_PutsTheEntryPointWhereKernelsLook) {
  const MemoryRange ranges[] = {{GuestAddress{0}, 2 << 20}};
  const auto memory = GuestMemory::Create(ranges, MemoryBacking::kAnonymous);
  ASSERT_TRUE(memory);
  ASSERT_TRUE(x86::WriteSmbios(**memory, Config()));
  char anchor[5];
  ASSERT_TRUE(
      (*memory)->ReadBytes(GuestAddress{0xf0000}, std::as_writable_bytes(std::span(anchor))));
  EXPECT_EQ(std::string(anchor, 5), "_SM3_");
}

TEST(SmbiosTest, Server1_IsWhatItAlwaysWas) {
  const auto bytes = Build(Config());
  EXPECT_TRUE(
      testing::IsGolden(GOLDEN_FOLDER "/server-1.smbios", std::string(bytes.begin(), bytes.end())));
}

// ---- what dmidecode says ------------------------------------------------------------------------

// dmidecode reads a dump whose entry point is at 0 and whose table is at 32.
std::string Dmidecode(const x86::SmbiosConfig& config) {
  char name[] = "/tmp/gemel-smbios-XXXXXX";
  CHECK(mkdtemp(name) != nullptr);
  const std::string folder = name;
  const auto bytes = x86::BuildSmbios(config, 0);
  std::ofstream(folder + "/dump", std::ios::binary) << std::string(bytes.begin(), bytes.end());
  const std::string command =
      "/usr/sbin/dmidecode --from-dump " + folder + "/dump >" + folder + "/out 2>&1";
  const int status = system(command.c_str());
  EXPECT_EQ(status, 0);
  std::string out = testing::ReadAll(folder + "/out");
  std::filesystem::remove_all(folder);
  return out;
}

TEST(SmbiosTest, Dmidecode_UnderstandsAll) {
  if (access("/usr/sbin/dmidecode", X_OK) != 0)
    GTEST_SKIP() << "dmidecode is not installed (apt install dmidecode)";
  const std::string said = Dmidecode(Config());
  EXPECT_THAT(said, HasSubstr("SMBIOS 3.6.0 present."));
  EXPECT_THAT(said, HasSubstr("Product Name: Web server"));
  EXPECT_THAT(said, HasSubstr("Serial Number: S-1"));
  EXPECT_THAT(said, HasSubstr("UUID: 00112233-4455-6677-8899-aabbccddeeff"));
  EXPECT_THAT(said, HasSubstr("Asset Tag: A-42"));
  EXPECT_THAT(said, HasSubstr("Core Count: 2"));
  EXPECT_THAT(said, HasSubstr("Size: 4 GB"));
  EXPECT_THAT(said, HasSubstr("Maximum Capacity: 4 GB"));
  EXPECT_EQ(said.find("OUT OF SPEC"), std::string::npos) << said;
  EXPECT_EQ(said.find("BAD INDEX"), std::string::npos) << said;
  EXPECT_EQ(said.find("roken"), std::string::npos) << said;
}

}  // namespace
}  // namespace gemel
