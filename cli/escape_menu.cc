#include "cli/escape_menu.h"

namespace gemel::cli {
namespace {

constexpr char kCtrlC = 0x03, kBackspace = 0x08, kEsc = 0x1b, kDelete = 0x7f;

}  // namespace

EscapeMenu::Step EscapeMenu::Feed(char byte) {
  if (mode_ == Mode::kLine) return FeedLine(byte);
  if (mode_ == Mode::kEscaped) return FeedEscaped(byte);
  if (byte != kEscape) return {Action::kToGuest, byte};
  mode_ = Mode::kEscaped;
  return {Action::kNone};
}

EscapeMenu::Step EscapeMenu::FeedEscaped(char byte) {
  mode_ = Mode::kGuest;
  switch (byte) {
    case 'q':
      return {Action::kQuit};
    case 'p':
      return {Action::kPowerButton};
    case 's':
      return {Action::kSleepButton};
    case 'r':
      return {Action::kReset};
    case 'l':
      return {Action::kLink};
    case 'i':
      return {Action::kInfo};
    case 'b':
      if (!has_balloon_) return {Action::kNoBalloon};
      mode_ = Mode::kLine;
      line_.clear();
      return {Action::kAskBalloon};
    case '?':
    case 'h':
      return {Action::kHelp};
    case kEscape:
      return {Action::kToGuest, kEscape};
    default:
      return {Action::kUnknown};
  }
}

EscapeMenu::Step EscapeMenu::FeedLine(char byte) {
  switch (byte) {
    case '\r':
    case '\n':
      mode_ = Mode::kGuest;
      return {Action::kSetBalloon, 0, line_};
    case kCtrlC:
    case kEsc:
    case kEscape:
      mode_ = Mode::kGuest;
      return {Action::kCancel};
    case kBackspace:
    case kDelete:
      if (line_.empty()) return {Action::kNone};
      line_.pop_back();
      return {Action::kErase};
    default:
      if (byte < 0x20 || line_.size() == kMaxLine) return {Action::kNone};
      line_ += byte;
      return {Action::kEcho, byte};
  }
}

std::string_view EscapeMenu::Help() {
  return "Ctrl-] and then: q power off now, p press the power button, s press the sleep button, "
         "r reset, b show and set the balloon, l pull the network cables or plug them in, "
         "i show the devices, ? this help, Ctrl-] send it to the guest";
}

}  // namespace gemel::cli
