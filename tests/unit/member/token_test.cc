#include "member/token.h"

#include <gtest/gtest.h>

namespace gemel::member {
namespace {

Token Some() {
  Token token;
  token.role = cluster::Role::kWitness;
  token.address = "[fd00::1]:2381";
  for (int i = 0; i < 32; ++i) token.fingerprint += "0f";
  token.secret = std::string("\x00\xff secret \n", 11);
  return token;
}

TEST(TokenTest, WhatIsEncoded_IsDecoded) {
  const std::string text = EncodeToken(Some());
  EXPECT_TRUE(text.starts_with("gmj_"));
  EXPECT_EQ(text.find_first_of(" +/=\n"), std::string::npos);
  const auto token = DecodeToken(text);
  ASSERT_TRUE(token) << token.error().message;
  EXPECT_EQ(*token, Some());
}

TEST(TokenTest, OneLetterChangedOrLost_IsNoticed) {
  const std::string text = EncodeToken(Some());
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    // The last letter has bits that no byte is made of.
    const auto read = DecodeToken(changed);
    EXPECT_TRUE(!read || (i + 1 == text.size() && *read == Some())) << i;
    EXPECT_FALSE(DecodeToken(text.substr(0, i))) << i;
  }
  EXPECT_FALSE(DecodeToken(text + "AA"));
  EXPECT_FALSE(DecodeToken("gmj_" + std::string(5000, 'A')));
  EXPECT_FALSE(DecodeToken(""));
}

}  // namespace
}  // namespace gemel::member
