#include "cli/escape_menu.h"

#include <utility>

namespace gemel::cli {

EscapeMenu::Step EscapeMenu::Feed(char byte) {
  if (!escaped_) {
    if (byte != kEscape) return {Action::kToGuest, byte};
    escaped_ = true;
    return {Action::kNone, 0};
  }
  escaped_ = false;
  switch (byte) {
    case 'q':
      return {Action::kQuit, 0};
    case 'p':
      return {Action::kPowerButton, 0};
    case 'r':
      return {Action::kReset, 0};
    case 'l':
      return {Action::kLink, 0};
    case 'i':
      return {Action::kInfo, 0};
    case '?':
    case 'h':
      return {Action::kHelp, 0};
    case kEscape:
      return {Action::kToGuest, kEscape};
    default:
      return {Action::kUnknown, 0};
  }
}

std::string_view EscapeMenu::Help() {
  return "Ctrl-] and then: q power off now, p press the power button, r reset, "
         "l pull the network cables or plug them in, i show the devices, ? this help, "
         "Ctrl-] send it to the guest";
}

}  // namespace gemel::cli
