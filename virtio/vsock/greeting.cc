#include "virtio/vsock/greeting.h"

#include <charconv>

namespace gemel::virtio {

VsockGreeting ParseVsockGreeting(std::string_view text) {
  using State = VsockGreeting::State;
  constexpr std::string_view kVerb = "CONNECT ";
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) {
    const std::string_view expected = kVerb.substr(0, text.size());
    const bool bad = text.size() >= kMaxGreeting || !text.starts_with(expected);
    return {.state = bad ? State::kBad : State::kIncomplete};
  }
  VsockGreeting greeting{.state = State::kBad, .port = 0, .length = end + 1};
  if (!text.starts_with(kVerb)) return greeting;
  std::string_view number = text.substr(kVerb.size(), end - kVerb.size());
  if (number.ends_with('\r')) number.remove_suffix(1);
  const char* const last = number.data() + number.size();
  // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): `last` is its end
  const auto [at, error] = std::from_chars(number.data(), last, greeting.port);
  if (error == std::errc() && at == last) greeting.state = State::kGood;
  return greeting;
}

}  // namespace gemel::virtio
