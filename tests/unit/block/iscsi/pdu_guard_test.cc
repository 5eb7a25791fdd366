#include "block/iscsi/pdu_guard.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/load_be.h"

namespace gemel::block {
namespace {

std::vector<std::byte> Pdu(std::uint8_t opcode, std::uint32_t data = 0) {
  std::vector<std::byte> pdu(kPduHeaderBytes + ((data + 3) & ~3u));
  pdu[0] = static_cast<std::byte>(opcode);
  StoreBe(std::span(pdu), 4, data);
  return pdu;
}

std::vector<std::byte> ReadyToTransfer(std::uint32_t bytes) {
  std::vector<std::byte> pdu = Pdu(0x31);
  StoreBe(std::span(pdu), 44, bytes);
  return pdu;
}

TEST(PduGuardTest, ResponsesWithData_Pass) {
  PduGuard guard;

  EXPECT_TRUE(guard.Feed(Pdu(0x21, 20)));
  EXPECT_TRUE(guard.Feed(Pdu(0x25, 4096)));
  EXPECT_EQ(guard.data_left(), 0u);
}

TEST(PduGuardTest, BytesOneByOne_AreTheSame) {
  PduGuard guard;
  std::vector<std::byte> bytes = Pdu(0x21, 5);
  for (const std::byte& byte : bytes) ASSERT_TRUE(guard.Feed({&byte, 1}));

  EXPECT_TRUE(guard.Feed(Pdu(0x21)));
}

TEST(PduGuardTest, DataThatWentElsewhere_IsSkipped) {
  PduGuard guard;
  const std::vector<std::byte> pdu = Pdu(0x25, 4097);
  ASSERT_TRUE(guard.Feed(std::span(pdu).first(kPduHeaderBytes)));

  EXPECT_TRUE(guard.Skip(4097));
  EXPECT_EQ(guard.data_left(), 3u);
  EXPECT_FALSE(guard.Skip(4));
}

TEST(PduGuardTest, WhatTargetsNeverSend_IsRefused) {
  for (const int opcode : {0x00, 0x01, 0x05, 0x27, 0x30, 0x3e})
    EXPECT_FALSE(PduGuard().Feed(Pdu(static_cast<std::uint8_t>(opcode)))) << opcode;
}

TEST(PduGuardTest, MoreDataThanWeTake_IsRefused) {
  EXPECT_TRUE(PduGuard().Feed(Pdu(0x25, kMaxSegmentBytes)));
  EXPECT_FALSE(PduGuard().Feed(Pdu(0x25, kMaxSegmentBytes + 1)));
}

TEST(PduGuardTest, AdditionalHeaders_AreRefused) {
  std::vector<std::byte> pdu = Pdu(0x21);
  pdu[4] = std::byte{1};

  EXPECT_FALSE(PduGuard().Feed(pdu));
}

TEST(PduGuardTest, ReadyToTransferOfNothingOrTooMuch_IsRefused) {
  EXPECT_FALSE(PduGuard().Feed(ReadyToTransfer(0)));
  EXPECT_TRUE(PduGuard().Feed(ReadyToTransfer(kMaxBurstBytes)));
  EXPECT_FALSE(PduGuard().Feed(ReadyToTransfer(kMaxBurstBytes + 1)));
}

TEST(PduGuardTest, TargetThatAsksAndDoesNotRead_IsRefusedInTheEnd) {
  PduGuard guard;
  for (std::uint32_t owed = 0; owed < kMaxOwedBytes; owed += kMaxBurstBytes)
    ASSERT_TRUE(guard.Feed(ReadyToTransfer(kMaxBurstBytes)));

  EXPECT_FALSE(guard.Feed(ReadyToTransfer(1)));
}

TEST(PduGuardTest, TargetThatReads_MayAskOn) {
  PduGuard guard;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(guard.Feed(ReadyToTransfer(kMaxBurstBytes)));
    guard.OnDrained();
  }
}

TEST(PduGuardTest, RequestToLogOut_EndsTheConnection) {
  std::vector<std::byte> pdu = Pdu(0x32);
  EXPECT_TRUE(PduGuard().Feed(pdu));
  pdu[36] = std::byte{1};

  EXPECT_FALSE(PduGuard().Feed(pdu));
}

}  // namespace
}  // namespace gemel::block
