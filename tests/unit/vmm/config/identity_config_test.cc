#include "vmm/config/identity_config.h"

#include <gtest/gtest.h>

namespace gemel {
namespace {

constexpr char kText[] = "00112233-4455-6677-8899-aabbccddeeff";

template <class T>
std::string Problem(const Result<T>& result) {
  return result ? "" : result.error().message;
}

TEST(ParseUuid, Text_BecomesBytesInItsOrder) {
  const auto uuid = ParseUuid(kText);
  ASSERT_TRUE(uuid);
  EXPECT_EQ(*uuid, (Uuid{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb,
                         0xcc, 0xdd, 0xee, 0xff}));
  EXPECT_EQ(*ParseUuid("00112233-4455-6677-8899-AABBCCDDEEFF"), *uuid);
}

TEST(ParseUuid, AnythingElse_IsRefused) {
  for (const char* text :
       {"", "0", "00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddeeff0",
        "00112233+4455-6677-8899-aabbccddeeff", "g0112233-4455-6677-8899-aabbccddeeff",
        "0011223344556677-8899-aabb-ccddeeff-"})
    EXPECT_EQ(Problem(ParseUuid(text)),
              fmt::format("uuid: {}: not of the form 00112233-4455-6677-8899-aabbccddeeff", text));
  EXPECT_NE(Problem(ParseUuid("00000000-0000-0000-0000-000000000000")), "");
}

TEST(FormatUuid, WhatParseReads) {
  const std::string text = "00112233-4455-6677-8899-aabbccddeeff";
  EXPECT_EQ(FormatUuid(*ParseUuid(text)), text);
}

TEST(DeriveUuid, IsStableAndDifferent) {
  EXPECT_EQ(DeriveUuid("host/web"), DeriveUuid("host/web"));
  EXPECT_NE(DeriveUuid("host/web"), DeriveUuid("host/web2"));
  EXPECT_NE(DeriveUuid(""), Uuid{});
}
TEST(DeriveUuid, Value_NeverChanges) {
  EXPECT_EQ(FormatUuid(DeriveUuid("host/web")), "176dc2a0-40bd-8bc2-9838-0c6aa47ed5fb");
}

TEST(ParseSmbios, Keys_AreAddedToWhatThereIs) {
  IdentityConfig identity;
  ASSERT_TRUE(ParseSmbios("product=Web server,serial=a,,b", identity));
  ASSERT_TRUE(ParseSmbios("asset=42", identity));
  EXPECT_EQ(identity.product, "Web server");
  EXPECT_EQ(identity.serial, "a,b");
  EXPECT_EQ(identity.asset, "42");
}

TEST(ParseSmbios, WrongInput_IsRefused) {
  IdentityConfig identity;
  EXPECT_FALSE(ParseSmbios("vendor=x", identity));
  EXPECT_EQ(Problem(ParseSmbios("x", identity)),
            "smbios: x: not KEY=VALUE; keys are product, serial and asset");
}

TEST(ValidateIdentity, TextThatSmbiosCannotHold_IsRefused) {
  IdentityConfig identity;
  identity.serial = std::string(kMaxIdentityBytes, 's');
  EXPECT_EQ(Problem(Validate(identity)), "");
  identity.serial += 's';
  EXPECT_NE(Problem(Validate(identity)), "");
  identity.serial = std::string("a\0b", 3);
  EXPECT_NE(Problem(Validate(identity)), "");
  identity.serial = "ä";
  EXPECT_NE(Problem(Validate(identity)), "");
}

}  // namespace
}  // namespace gemel
