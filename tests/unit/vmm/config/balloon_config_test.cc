#include "vmm/config/balloon_config.h"

#include <gtest/gtest.h>

namespace gemel {
namespace {

TEST(ParseBalloon, OnAndOff_AreWords) {
  EXPECT_EQ(ParseBalloon("off").value(), std::nullopt);
  EXPECT_EQ(ParseBalloon("on").value(), BalloonConfig{});
}

TEST(ParseBalloon, Keys_AreTaken) {
  const auto balloon = ParseBalloon("size=128M,deflate-on-oom=off,free-page-reporting=off");
  ASSERT_TRUE(balloon);
  EXPECT_EQ(*balloon, (BalloonConfig{128ull << 20, false, false}));
}

TEST(ParseBalloon, WrongWords_NameThem) {
  EXPECT_EQ(ParseBalloon("128M").error().message, "balloon: 128M: write on, off or size=128M");
  EXPECT_NE(ParseBalloon("size=x").error().message.find("balloon: size: x"), std::string::npos);
  EXPECT_FALSE(ParseBalloon(""));
  EXPECT_FALSE(ParseBalloon("stats=on"));
}

TEST(ValidateBalloon, MoreThanTheMemory_IsRefused) {
  EXPECT_TRUE(ValidateBalloon({.size = 512ull << 20}, 512ull << 20));
  EXPECT_FALSE(ValidateBalloon({.size = 513ull << 20}, 512ull << 20));
  EXPECT_FALSE(ValidateBalloon({.size = 4096}, 512ull << 20));
}

}  // namespace
}  // namespace gemel
