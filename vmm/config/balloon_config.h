// The memory balloon: what of its RAM the guest is asked to give back. Data, its words, and its
// checks; pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace gemel {

struct BalloonConfig {
  std::uint64_t size = 0;      // bytes that the guest is to give up at first, a multiple of 1 MiB
  bool deflate_on_oom = true;  // the guest may take pages back when it runs out of memory
  bool free_page_reporting = true;  // the guest tells which pages it does not use
  bool operator==(const BalloonConfig&) const = default;
};

// "off", "on", or a list of "size=SIZE", "deflate-on-oom=on|off", "free-page-reporting=on|off".
Result<std::optional<BalloonConfig>> ParseBalloon(std::string_view text);
Status ValidateBalloon(const BalloonConfig& balloon, std::uint64_t memory_bytes);

}  // namespace gemel
