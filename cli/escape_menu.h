// Ctrl-] on the console: tells what is for the guest from what is for gemel. Pure.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gemel::cli {

class EscapeMenu {
 public:
  static constexpr char kEscape = 0x1d;  // Ctrl-]
  static constexpr std::size_t kMaxLine = 32;

  enum class Action : std::uint8_t {
    kNone,     // nothing to do: an escape has begun
    kToGuest,  // `byte` is the guest's
    kQuit,     // power off, now
    kPowerButton,
    kSleepButton,
    kReset,
    kLink,  // pull all network cables, or plug them in
    kInfo,  // show the machine's devices and what they have done
    kHelp,
    kUnknown,     // no such key; the escape is over
    kNoBalloon,   // asked for the balloon where there is none
    kAskBalloon,  // show it, and ask for its new size: what is typed from here on is a line
    kEcho,        // `byte` of that line was taken: show it
    kErase,       // the last one was taken back
    kSetBalloon,  // the line has ended: `line`
    kCancel,      // the line was given up
  };
  struct Step {
    Action action = Action::kNone;
    char byte = 0;               // of kToGuest, kEcho
    std::string_view line = {};  // of kSetBalloon; until the next Feed
  };

  explicit EscapeMenu(bool has_balloon = false) : has_balloon_(has_balloon) {}

  Step Feed(char byte);
  // What kHelp shows.
  static std::string_view Help();

 private:
  enum class Mode : std::uint8_t { kGuest, kEscaped, kLine };
  Step FeedEscaped(char byte);
  Step FeedLine(char byte);

  const bool has_balloon_;
  Mode mode_ = Mode::kGuest;
  std::string line_;
};

}  // namespace gemel::cli
