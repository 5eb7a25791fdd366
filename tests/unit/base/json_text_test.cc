#include "base/json_text.h"

#include <gtest/gtest.h>

namespace gemel {
namespace {

TEST(JsonTextTest, PlainText_IsQuoted) { EXPECT_EQ(JsonQuoted("web 1"), "\"web 1\""); }

TEST(JsonTextTest, QuoteAndBackslash_AreEscaped) { EXPECT_EQ(JsonQuoted("a\"\\"), R"("a\"\\")"); }

TEST(JsonTextTest, ControlCharacters_AreEscaped) {
  EXPECT_EQ(JsonQuoted(std::string_view("a\n\0\x1b\x7f", 5)), R"("a\n\u0000\u001b\u007f")");
}

TEST(JsonTextTest, Utf8_IsKept) { EXPECT_EQ(JsonQuoted("grün €𝄞"), "\"grün €𝄞\""); }

TEST(JsonTextTest, BrokenUtf8_BecomesTheReplacementCharacter) {
  EXPECT_EQ(JsonQuoted("\xff"), "\"\\ufffd\"");
  EXPECT_EQ(JsonQuoted("\xc3"), "\"\\ufffd\"");
  EXPECT_EQ(JsonQuoted("\xc0\x80"), "\"\\ufffd\\ufffd\"");             // too long a form
  EXPECT_EQ(JsonQuoted("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");  // a surrogate
}

}  // namespace
}  // namespace gemel
