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
TEST(EscapeMenu, SleepButton) { EXPECT_EQ(Last("\x1ds"), Action::kSleepButton); }
TEST(EscapeMenu, BalloonWhereThereIsNone_IsSaidAndTheEscapeIsOver) {
  EXPECT_EQ(Last("\x1d"
                 "b"),
            Action::kNoBalloon);
  EXPECT_EQ(ToGuest("\x1d"
                    "b1"),
            "1");
}
TEST(EscapeMenu, BalloonsLine_EndsWithEnter) {
  EscapeMenu menu(true);
  menu.Feed(kEscape);
  EXPECT_EQ(menu.Feed('b').action, Action::kAskBalloon);
  EXPECT_EQ(menu.Feed('1').action, Action::kEcho);
  EXPECT_EQ(menu.Feed('3').byte, '3');
  EXPECT_EQ(menu.Feed(0x7f).action, Action::kErase);
  menu.Feed('2');
  menu.Feed('M');
  const EscapeMenu::Step end = menu.Feed('\r');
  EXPECT_EQ(end.action, Action::kSetBalloon);
  EXPECT_EQ(end.line, "12M");
  EXPECT_EQ(menu.Feed('x').action, Action::kToGuest);
}
TEST(EscapeMenu, BalloonsLine_IsGivenUpByEscape) {
  EscapeMenu menu(true);
  for (const char key : {kEscape, 'b', '1'}) menu.Feed(key);
  EXPECT_EQ(menu.Feed(kEscape).action, Action::kCancel);
  EXPECT_EQ(menu.Feed('x').action, Action::kToGuest);
}
TEST(EscapeMenu, BalloonsLine_HasAnEnd) {
  EscapeMenu menu(true);
  for (const char key : {kEscape, 'b'}) menu.Feed(key);
  for (std::size_t i = 0; i < EscapeMenu::kMaxLine; ++i) menu.Feed('9');
  EXPECT_EQ(menu.Feed('9').action, Action::kNone);
  EXPECT_EQ(menu.Feed('\n').line.size(), EscapeMenu::kMaxLine);
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
