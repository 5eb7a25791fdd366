#include "vmm/config/parse.h"

#include <gtest/gtest.h>

namespace gemel {
namespace {

template <class T>
std::string Problem(const Result<T>& result) {
  return result ? "" : result.error().message;
}
std::uint64_t Size(std::string_view text) {
  const auto size = ParseSize("memory", text);
  EXPECT_TRUE(size) << Problem(size);
  return size.value_or(0);
}
std::string SizeProblem(std::string_view text) { return Problem(ParseSize("memory", text)); }

TEST(ParseSize, Units_ArePowersOf1024) {
  EXPECT_EQ(Size("1073741824"), 1ull << 30);
  EXPECT_EQ(Size("4K"), 4096u);
  EXPECT_EQ(Size("512M"), 512ull << 20);
  EXPECT_EQ(Size("512m"), 512ull << 20);
  EXPECT_EQ(Size("2G"), 2ull << 30);
  EXPECT_EQ(Size("2GiB"), 2ull << 30);
  EXPECT_EQ(Size("3TiB"), 3ull << 40);
  EXPECT_EQ(Size("0"), 0u);
}
TEST(ParseSize, NotASize_Refused) {
  const std::string why = ": not a size; write 512M, 2G or a number of bytes";
  EXPECT_EQ(SizeProblem("lots"), "memory: lots" + why);
  EXPECT_EQ(SizeProblem(""), "memory: \"\"" + why);
  EXPECT_EQ(SizeProblem("M"), "memory: M" + why);
  EXPECT_EQ(SizeProblem("-1M"), "memory: -1M" + why);
  EXPECT_EQ(SizeProblem("+1M"), "memory: +1M" + why);
  EXPECT_EQ(SizeProblem(" 1M"), "memory:  1M" + why);
  EXPECT_EQ(SizeProblem("1.5G"), "memory: 1.5G" + why);
  EXPECT_EQ(SizeProblem("1MB"), "memory: 1MB" + why);
  EXPECT_EQ(SizeProblem("1Mi"), "memory: 1Mi" + why);
  EXPECT_EQ(SizeProblem("0x10"), "memory: 0x10" + why);
  EXPECT_EQ(SizeProblem("1M "), "memory: 1M " + why);
}
TEST(ParseSize, LargestThatFits_Accepted) {
  EXPECT_EQ(Size("18446744073709551615"), ~0ull);
  EXPECT_EQ(Size("16777215T"), 16777215ull << 40);
}
TEST(ParseSize, Overflow_Refused) {
  EXPECT_EQ(SizeProblem("18446744073709551616"), "memory: 18446744073709551616: too large");
  EXPECT_EQ(SizeProblem("16777216T"), "memory: 16777216T: too large");
  EXPECT_EQ(SizeProblem("18446744073709551615K"), "memory: 18446744073709551615K: too large");
}

TEST(FormatSize, LargestUnitThatDivides) {
  EXPECT_EQ(FormatSize(512ull << 20), "512M");
  EXPECT_EQ(FormatSize(900ull << 30), "900G");
  EXPECT_EQ(FormatSize(1025), "1025");
  EXPECT_EQ(FormatSize(0), "0");
}
TEST(RoughSize, ForPeople) {
  EXPECT_EQ(RoughSize(0), "0 bytes");
  EXPECT_EQ(RoughSize(1023), "1023 bytes");
  EXPECT_EQ(RoughSize(512ull << 20), "512 MiB");
  EXPECT_EQ(RoughSize((3ull << 30) / 2), "1.5 GiB");
  EXPECT_EQ(RoughSize((23ull << 30) + 12345), "23 GiB");
  EXPECT_EQ(RoughSize(~0ull), "16777215 TiB");
}

TEST(ParseNumber, WithinBounds_Accepted) {
  EXPECT_EQ(*ParseNumber("cpus", "1", 1, 64), 1u);
  EXPECT_EQ(*ParseNumber("cpus", "64", 1, 64), 64u);
}
TEST(ParseNumber, Otherwise_Refused) {
  EXPECT_EQ(Problem(ParseNumber("cpus", "0", 1, 64)), "cpus: 0: not a number from 1 to 64");
  EXPECT_EQ(Problem(ParseNumber("cpus", "65", 1, 64)), "cpus: 65: not a number from 1 to 64");
  EXPECT_EQ(Problem(ParseNumber("cpus", "two", 1, 64)), "cpus: two: not a number from 1 to 64");
  EXPECT_EQ(Problem(ParseNumber("cpus", "", 1, 64)), "cpus: \"\": not a number from 1 to 64");
  EXPECT_EQ(Problem(ParseNumber("cpus", "4294967297", 1, 64)),
            "cpus: 4294967297: not a number from 1 to 64");
}

TEST(ParseDuration, Units_Understood) {
  EXPECT_EQ(*ParseDuration("timeout", "90"), 90'000);
  EXPECT_EQ(*ParseDuration("timeout", "500ms"), 500);
  EXPECT_EQ(*ParseDuration("timeout", "90s"), 90'000);
  EXPECT_EQ(*ParseDuration("timeout", "10m"), 600'000);
  EXPECT_EQ(*ParseDuration("timeout", "365d"), 365ll * 86'400'000);
}
TEST(ParseDuration, Otherwise_Refused) {
  EXPECT_EQ(Problem(ParseDuration("timeout", "soon")),
            "timeout: soon: not a time; write 90s, 10m or 2h");
  EXPECT_EQ(Problem(ParseDuration("timeout", "0s")),
            "timeout: 0s: not more than zero and at most 365d");
  EXPECT_EQ(Problem(ParseDuration("timeout", "366d")),
            "timeout: 366d: not more than zero and at most 365d");
  EXPECT_FALSE(ParseDuration("timeout", "18446744073709551615d"));
  EXPECT_FALSE(ParseDuration("timeout", ""));
  EXPECT_FALSE(ParseDuration("timeout", "10 m"));
}

TEST(ParseMemory, BareSize_TheRestDefault) {
  EXPECT_EQ(*ParseMemory("2G"), (MemoryConfig{2ull << 30, false, false}));
}
TEST(ParseMemory, List_EveryKey) {
  EXPECT_EQ(*ParseMemory("size=1G,shared=on,hugepages=on"), (MemoryConfig{1ull << 30, true, true}));
  EXPECT_EQ(*ParseMemory("1G,shared=on"), (MemoryConfig{1ull << 30, true, false}));
}
TEST(ParseMemory, WrongInput_NamesIt) {
  EXPECT_EQ(
      Problem(ParseMemory("size=1G,share=on")),
      "memory: share=on: unknown key; did you mean shared? (there are size, shared, hugepages)");
  EXPECT_EQ(Problem(ParseMemory("1G,size=2G")), "memory: 1G,size=2G: the size is given twice");
  EXPECT_EQ(Problem(ParseMemory("1G,shared=yes")), "memory: shared: yes: not on or off");
  EXPECT_EQ(Problem(ParseMemory("")),
            "memory: \"\": not a size; write 512M, 2G or a number of bytes");
}

TEST(ParseDisk, PathAlone_TheRestDefault) {
  EXPECT_EQ(*ParseDisk("path=disk.img"), (DiskConfig{.path = "disk.img", .serial = ""}));
}
TEST(ParseDisk, EveryKey_Understood) {
  EXPECT_EQ(*ParseDisk("readonly=on,path=/d,serial=S 1,direct=on,engine=io_uring"),
            (DiskConfig{"/d", true, "S 1", true, IoEngine::kIoUring}));
  EXPECT_EQ(ParseDisk("path=/d,engine=sync")->engine, IoEngine::kSync);
}
TEST(ParseDisk, DoubledComma_IsOneInThePath) {
  EXPECT_EQ(ParseDisk("path=a,,b,readonly=on")->path, "a,b");
  EXPECT_EQ(ParseDisk("path=,,,,")->path, ",,");
}
TEST(ParseDisk, EqualsInPath_Kept) { EXPECT_EQ(ParseDisk("path=a=b")->path, "a=b"); }
TEST(ParseDisk, WrongInput_NamesIt) {
  EXPECT_EQ(Problem(ParseDisk("path=d,colour=red")),
            "disk: colour=red: unknown key; there are path, readonly, serial, direct, engine, "
            "iscsi, initiator, password-file");
  EXPECT_EQ(Problem(ParseDisk("path=d,readnoly=on")),
            "disk: readnoly=on: unknown key; did you mean readonly? (there are path, readonly, "
            "serial, direct, engine, iscsi, initiator, password-file)");
  EXPECT_EQ(Problem(ParseDisk("disk.img")),
            "disk: disk.img: not KEY=VALUE; did you mean path=disk.img?");
  EXPECT_EQ(Problem(ParseDisk("path=d,readonly=maybe")), "disk: readonly: maybe: not on or off");
  EXPECT_EQ(Problem(ParseDisk("path=d,engine=aio")),
            "disk: engine: aio: unknown; there is auto, io_uring, sync");
  EXPECT_EQ(Problem(ParseDisk("path=d,path=e")), "disk: path=e: given twice");
  EXPECT_EQ(Problem(ParseDisk("readonly=on")), "disk: readonly=on: path=FILE is missing");
  EXPECT_EQ(Problem(ParseDisk("path=")), "disk: path=: path=FILE is missing");
  EXPECT_EQ(Problem(ParseDisk("path=d,")), "disk: path=d,: an empty part");
  EXPECT_EQ(Problem(ParseDisk("path=a,b")),
            "disk: b: not KEY=VALUE (a comma in a value is written twice)");
  EXPECT_EQ(Problem(ParseDisk("")), "disk: \"\": write path=FILE");
}

TEST(ParseSerial, EachKind_Understood) {
  using Kind = SerialConfig::Kind;
  EXPECT_EQ(*ParseSerial("stdio"), (SerialConfig{Kind::kStdio, ""}));
  EXPECT_EQ(*ParseSerial("pty"), (SerialConfig{Kind::kPty, ""}));
  EXPECT_EQ(*ParseSerial("none"), (SerialConfig{Kind::kNone, ""}));
  EXPECT_EQ(*ParseSerial("file:a:b"), (SerialConfig{Kind::kFile, "a:b"}));
  EXPECT_EQ(*ParseSerial("unix:/run/s"), (SerialConfig{Kind::kUnix, "/run/s"}));
}
TEST(ParseSerial, WrongInput_NamesIt) {
  EXPECT_EQ(Problem(ParseSerial("tcp:1")),
            "serial: tcp:1: unknown; there is stdio, pty, file:PATH, unix:PATH, none");
  EXPECT_EQ(Problem(ParseSerial("file:")), "serial: file:: a path is missing: file:PATH");
  EXPECT_EQ(Problem(ParseSerial("unix")), "serial: unix: a path is missing: unix:PATH");
  EXPECT_FALSE(ParseSerial(""));
  EXPECT_FALSE(ParseSerial("stdio:x"));
}

TEST(ParseOnReboot, Words) {
  EXPECT_EQ(*ParseOnReboot("reset"), OnReboot::kReset);
  EXPECT_EQ(*ParseOnReboot("exit"), OnReboot::kExit);
  EXPECT_EQ(Problem(ParseOnReboot("exits")),
            "on-reboot: exits: unknown; did you mean exit? (there is reset, exit)");
}
TEST(ParseProfile, Words) {
  EXPECT_EQ(*ParseProfile("micro"), Profile::kMicro);
  EXPECT_EQ(*ParseProfile("server"), Profile::kServer);
  EXPECT_EQ(Problem(ParseProfile("desktop")), "profile: desktop: unknown; there is micro, server");
}

}  // namespace
}  // namespace gemel
