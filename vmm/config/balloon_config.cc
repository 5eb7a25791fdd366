#include "vmm/config/balloon_config.h"

#include <array>
#include <vector>

#include "vmm/config/key_list.h"
#include "vmm/config/parse.h"

namespace gemel {

Result<std::optional<BalloonConfig>> ParseBalloon(std::string_view text) {
  static constexpr std::array<std::string_view, 3> kKeys = {"size", "deflate-on-oom",
                                                            "free-page-reporting"};
  using Balloon = std::optional<BalloonConfig>;
  if (text == "off") return Balloon();
  if (text == "on") return Balloon(BalloonConfig{});
  if (text.empty()) return InvalidArgument("balloon: \"\": write on, off or size=SIZE");
  ASSIGN_OR_RETURN(const std::vector<KeyValue> list, ParseKeyList("balloon", text, kKeys));
  BalloonConfig balloon;
  for (const KeyValue& pair : list) {
    if (pair.key.empty())
      return InvalidArgument("balloon: {}: write on, off or size={}", pair.value, pair.value);
    if (pair.key == "size") {
      ASSIGN_OR_RETURN(balloon.size, ParseSize("balloon: size", pair.value));
    } else if (pair.key == "deflate-on-oom") {
      ASSIGN_OR_RETURN(balloon.deflate_on_oom, ParseOnOff("balloon: deflate-on-oom", pair.value));
    } else {
      ASSIGN_OR_RETURN(balloon.free_page_reporting,
                       ParseOnOff("balloon: free-page-reporting", pair.value));
    }
  }
  return Balloon(balloon);
}

Status ValidateBalloon(const BalloonConfig& balloon, std::uint64_t memory_bytes) {
  if (balloon.size % (1u << 20) != 0)
    return InvalidArgument("balloon: size={}: not a multiple of 1M", FormatSize(balloon.size));
  if (balloon.size > memory_bytes)
    return InvalidArgument("balloon: size={}: more than the memory, {}", FormatSize(balloon.size),
                           FormatSize(memory_bytes));
  return {};
}

}  // namespace gemel
