#include "cli/escape_menu.h"

#include <gtest/gtest.h>

#include <string>

namespace gemel::cli {
namespace {

using Action = EscapeMenu::Action;
constexpr char kEscape = EscapeMenu::kEscape;

// What the last of `keys` does.
Action Last(std::string_view keys) {
  EscapeMenu menu;
  Action action = Action::kNone;
  for (const char key : keys) action = menu.Feed(key).action;
  return action;
}
// All that reaches the guest.
std::string ToGuest(std::string_view keys) {
  EscapeMenu menu;
  std::string bytes;
  for (const char key : keys) {
    const EscapeMenu::Step step = menu.Feed(key);
    if (step.action == Action::kToGuest) bytes += step.byte;
  }
  return bytes;
}

TEST(EscapeMenu, EveryOtherByte_IsTheGuests) {
  std::string all;
  for (int i = 0; i < 256; ++i)
    if (i != kEscape) all += static_cast<char>(i);
  EXPECT_EQ(ToGuest(all), all);
}
TEST(EscapeMenu, EscapeAlone_NothingYet) { EXPECT_EQ(Last("\x1d"), Action::kNone); }
TEST(EscapeMenu, EscapeThenKey_ItsAction) {
  EXPECT_EQ(Last("\x1dq"), Action::kQuit);
  EXPECT_EQ(Last("\x1dp"), Action::kPowerButton);
  EXPECT_EQ(Last("\x1dr"), Action::kReset);
  EXPECT_EQ(Last("\x1d?"), Action::kHelp);
  EXPECT_EQ(Last("\x1dl"), Action::kLink);
  EXPECT_EQ(Last("\x1di"), Action::kInfo);
}
TEST(EscapeMenu, EscapeTwice_OneForTheGuest) {
  EXPECT_EQ(ToGuest("a\x1d\x1d"
                    "b"),
            "a\x1d"
            "b");
}
TEST(EscapeMenu, UnknownKey_EndsTheEscapeAndIsDropped) {
  EXPECT_EQ(Last("\x1dx"), Action::kUnknown);
  EXPECT_EQ(ToGuest("\x1dxy"), "y");
}
TEST(EscapeMenu, KeysAfterAnAction_AreTheGuests) { EXPECT_EQ(ToGuest("\x1dpq"), "q"); }
TEST(EscapeMenu, MenuKeysWithoutEscape_AreTheGuests) { EXPECT_EQ(ToGuest("qpr?"), "qpr?"); }

}  // namespace
}  // namespace gemel::cli
