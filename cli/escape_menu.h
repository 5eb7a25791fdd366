// Ctrl-] on the console: tells what is for the guest from what is for gemel. Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace gemel::cli {

class EscapeMenu {
 public:
  static constexpr char kEscape = 0x1d;  // Ctrl-]

  enum class Action : std::uint8_t {
    kNone,     // nothing to do: an escape has begun
    kToGuest,  // `byte` is the guest's
    kQuit,     // power off, now
    kPowerButton,
    kReset,
    kLink,  // pull all network cables, or plug them in
    kInfo,  // show the machine's devices and what they have done
    kHelp,
    kUnknown,  // no such key; the escape is over
  };
  struct Step {
    Action action = Action::kNone;
    char byte = 0;  // of kToGuest
  };

  Step Feed(char byte);
  // What kHelp shows.
  static std::string_view Help();

 private:
  bool escaped_ = false;
};

}  // namespace gemel::cli
