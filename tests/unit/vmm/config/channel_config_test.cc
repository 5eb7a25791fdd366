#include "vmm/config/channel_config.h"

#include <gtest/gtest.h>

namespace gemel {
namespace {

std::string ErrorOf(const Status& status) { return status ? "" : status.error().message; }

TEST(ParseVsock, PathAlone_HasCid3) {
  const auto vsock = ParseVsock("path=/run/vm.sock");
  ASSERT_TRUE(vsock);
  EXPECT_EQ(*vsock, (VsockConfig{3, "/run/vm.sock"}));
}

TEST(ParseVsock, CidAndPath_AreTaken) {
  const auto vsock = ParseVsock("cid=42,path=s");
  ASSERT_TRUE(vsock);
  EXPECT_EQ(*vsock, (VsockConfig{42, "s"}));
}

TEST(ParseVsock, WrongWords_NameThem) {
  EXPECT_EQ(ParseVsock("/run/s").error().message,
            "vsock: /run/s: not KEY=VALUE; did you mean path=/run/s?");
  EXPECT_NE(ParseVsock("cid=2,path=s").error().message.find("vsock: cid: 2"), std::string::npos);
  EXPECT_NE(ParseVsock("cid=4294967295,path=s").error().message.find("not a number"),
            std::string::npos);
  EXPECT_NE(ParseVsock("socket=s").error().message.find("unknown key"), std::string::npos);
}

TEST(ValidateVsock, PathThatLeavesNoRoomForAPort_IsRefused) {
  EXPECT_EQ(ErrorOf(ValidateVsock({3, std::string(96, 'p')})), "");
  EXPECT_NE(ErrorOf(ValidateVsock({3, std::string(97, 'p')})), "");
  EXPECT_NE(ErrorOf(ValidateVsock({3, ""})), "");
  EXPECT_NE(ErrorOf(ValidateVsock({3, std::string("a\0b", 3)})), "");
  EXPECT_NE(ErrorOf(ValidateVsock({2, "p"})), "");
}

TEST(ParseConsole, EachKind_IsUnderstood) {
  using Kind = ConsoleConfig::Kind;
  EXPECT_EQ(*ParseConsole("none"), ConsoleConfig{});
  EXPECT_EQ(*ParseConsole("stdio"), (ConsoleConfig{Kind::kStdio, ""}));
  EXPECT_EQ(*ParseConsole("unix:a:b"), (ConsoleConfig{Kind::kUnix, "a:b"}));
  for (const char* text : {"", "unix:", "pty", "file:x"}) EXPECT_FALSE(ParseConsole(text)) << text;
}

TEST(ParseChannel, NameAndPath_AreTaken) {
  const auto channel = ParseChannel("name=org.gemel.agent.0,path=agent.sock");
  ASSERT_TRUE(channel);
  EXPECT_EQ(*channel, (ChannelConfig{"org.gemel.agent.0", "agent.sock"}));
}

TEST(ValidateChannels, NamesOfFiles_AreNeeded) {
  EXPECT_EQ(ErrorOf(ValidateChannels({{"org.qemu.guest_agent.0", "a"}})), "");
  for (const char* name : {"", ".", "..", "a/b", "a b", ".hidden"})
    EXPECT_NE(ErrorOf(ValidateChannels({{name, "a"}})), "") << name;
  EXPECT_NE(ErrorOf(ValidateChannels({{std::string(64, 'n'), "a"}})), "");
}

TEST(ValidateChannels, SameNameOrPathTwice_IsRefused) {
  EXPECT_EQ(ErrorOf(ValidateChannels({{"a", "1"}, {"b", "2"}})), "");
  EXPECT_EQ(ErrorOf(ValidateChannels({{"a", "1"}, {"a", "2"}})), "channel: name=a: given twice");
  EXPECT_EQ(ErrorOf(ValidateChannels({{"a", "1"}, {"b", "1"}})), "channel: path=1: given twice");
}

TEST(ValidateChannels, TooMany_AreRefused) {
  std::vector<ChannelConfig> channels;
  for (std::size_t i = 0; i <= kMaxChannels; ++i)
    channels.push_back({"n" + std::to_string(i), "p" + std::to_string(i)});
  EXPECT_NE(ErrorOf(ValidateChannels(channels)), "");
  channels.pop_back();
  EXPECT_EQ(ErrorOf(ValidateChannels(channels)), "");
}

}  // namespace
}  // namespace gemel
