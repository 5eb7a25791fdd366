#include "vmm/config/suggest.h"

#include <gtest/gtest.h>

#include <array>

namespace gemel {
namespace {

constexpr std::array<std::string_view, 4> kWords = {"readonly", "path", "serial", "direct"};

TEST(NearestWord, SwappedLetters_Found) { EXPECT_EQ(NearestWord("readnoly", kWords), "readonly"); }
TEST(NearestWord, MissingLetter_Found) { EXPECT_EQ(NearestWord("pth", kWords), "path"); }
TEST(NearestWord, ExtraLetter_Found) { EXPECT_EQ(NearestWord("serials", kWords), "serial"); }
TEST(NearestWord, NothingAlike_Empty) { EXPECT_EQ(NearestWord("colour", kWords), ""); }
TEST(NearestWord, EmptyWord_Empty) { EXPECT_EQ(NearestWord("", kWords), ""); }
TEST(NearestWord, VeryLongWord_Empty) {
  EXPECT_EQ(NearestWord(std::string(100000, 'a'), kWords), "");
}
TEST(JoinWords, Words_CommasBetween) {
  EXPECT_EQ(JoinWords(kWords), "readonly, path, serial, direct");
}

}  // namespace
}  // namespace gemel
