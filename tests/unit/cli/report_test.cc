#include "cli/report.h"

#include <gtest/gtest.h>

namespace gemel::cli {
namespace {

TEST(ErrorText, Message_OneLine) {
  EXPECT_EQ(ErrorText({Code::kNotFound, "disk: a: gone"}), "error: disk: a: gone\n");
}
TEST(ErrorText, Hint_SecondLineIndented) {
  EXPECT_EQ(ErrorText(WithHint({Code::kNotFound, "a"}, "do b")), "error: a\n  do b\n");
}
TEST(ErrorText, ControlCharacters_CannotMakeLinesOrColours) {
  EXPECT_EQ(ErrorText({Code::kNotFound, "a\nerror: b\x1b[31m\x7f"}),
            "error: a\\x0aerror: b\\x1b[31m\\x7f\n");
}
TEST(Printable, Utf8_Kept) { EXPECT_EQ(Printable("größer"), "größer"); }
TEST(Printable, Lines_KeptOnRequest) { EXPECT_EQ(Printable("a\n\tb\r", true), "a\n\tb\\x0d"); }

}  // namespace
}  // namespace gemel::cli
