#include "virtio/vsock/packet.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>

#include "virtio/vsock/credit.h"
#include "virtio/vsock/greeting.h"

namespace gemel::virtio {
namespace {

using State = VsockGreeting::State;

TEST(VsockPacket, HeaderOverSeveralBuffers_IsRead) {
  VsockHeader header{.source_cid = 3, .target_cid = 2, .source_port = 7, .length = 2};
  std::array<std::byte, 46> bytes{};
  std::memcpy(bytes.data(), &header, sizeof header);
  const std::array<iovec, 2> iov{iovec{bytes.data(), 10}, iovec{bytes.data() + 10, 36}};
  const auto parsed = ParseVsockPacket(iov);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(std::uint32_t{parsed->source_port}, 7u);
}

TEST(VsockPacket, ShorterThanAHeader_IsNone) {
  std::array<std::byte, 43> bytes{};
  const iovec iov{bytes.data(), bytes.size()};
  EXPECT_FALSE(ParseVsockPacket({&iov, 1}).has_value());
}

TEST(VsockPacket, LengthBeyondTheChain_IsNone) {
  VsockHeader header{.length = 0xffff'ffff};
  const iovec iov{&header, sizeof header};
  EXPECT_FALSE(ParseVsockPacket({&iov, 1}).has_value());
}

TEST(VsockGreeting, GoodLine_GivesPortAndLength) {
  const auto greeting = ParseVsockGreeting("CONNECT 1024\nhello");
  EXPECT_EQ(greeting.state, State::kGood);
  EXPECT_EQ(greeting.port, 1024u);
  EXPECT_EQ(greeting.length, 13u);
}

TEST(VsockGreeting, BeginningOfALine_IsIncomplete) {
  EXPECT_EQ(ParseVsockGreeting("").state, State::kIncomplete);
  EXPECT_EQ(ParseVsockGreeting("CONN").state, State::kIncomplete);
  EXPECT_EQ(ParseVsockGreeting("CONNECT 42949").state, State::kIncomplete);
}

TEST(VsockGreeting, AnythingElse_IsBad) {
  for (const char* text : {"GET / HTTP/1.1", "connect 1\n", "CONNECT \n", "CONNECT 1 2\n",
                           "CONNECT -1\n", "CONNECT 4294967296\n", "CONNECT 0x10\n", "\n"})
    EXPECT_EQ(ParseVsockGreeting(text).state, State::kBad) << text;
  EXPECT_EQ(ParseVsockGreeting("CONNECT " + std::string(24, '1')).state, State::kBad);
}

TEST(VsockCredit, GuestThatForwardedMoreThanItGot_HasNoRoom) {
  VsockCredit credit(100);
  credit.OnHeader({.buffer_size = 50, .forwarded_count = 1});
  EXPECT_EQ(credit.room_in_guest(), 0u);
}

TEST(VsockCredit, CountersThatWrap_StillCount) {
  VsockCredit credit(100);
  for (int i = 0; i < 3; ++i) {
    credit.OnSent(0x6000'0000);
    credit.OnHeader(
        {.buffer_size = 10, .forwarded_count = 0x6000'0000u * (static_cast<unsigned>(i) + 1u)});
  }
  credit.OnSent(4);
  EXPECT_EQ(credit.room_in_guest(), 6u);
}

TEST(VsockCredit, MoreThanTheBuffer_IsRefused) {
  VsockCredit credit(100);
  EXPECT_TRUE(credit.OnReceived(60));
  EXPECT_FALSE(credit.OnReceived(41));
  EXPECT_TRUE(credit.OnReceived(40));
  EXPECT_FALSE(credit.OnReceived(1));
  credit.OnForwarded(1);
  EXPECT_TRUE(credit.OnReceived(1));
}

TEST(VsockCredit, UpdateIsDue_OnceHalfOfTheBufferSeemsFull) {
  VsockCredit credit(100);
  EXPECT_TRUE(credit.OnReceived(50));
  credit.OnForwarded(50);
  EXPECT_FALSE(credit.UpdateDue());
  EXPECT_TRUE(credit.OnReceived(1));
  EXPECT_TRUE(credit.UpdateDue());
  VsockHeader header;
  credit.Stamp(header);
  EXPECT_EQ(std::uint32_t{header.forwarded_count}, 50u);
  EXPECT_FALSE(credit.UpdateDue());
}

}  // namespace
}  // namespace gemel::virtio
