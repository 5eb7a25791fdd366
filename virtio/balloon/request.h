// What the balloon's chains hold (virtio 1.2, section 5.5.6). Pure: no I/O, no state.
#pragma once
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "virtio/balloon/config_space.h"
#include "vmm/memory/guest_address.h"

namespace gemel::virtio {

// Of one chain. More page numbers than these, where Linux sends 256, are passed over: the pages
// stay where they are.
inline constexpr std::size_t kMaxBalloonPages = 1024;

struct PageRange {
  GuestAddress start;
  std::uint64_t bytes = 0;
  bool operator==(const PageRange&) const = default;
};

// The pages whose numbers the chain holds, in as few ranges as they make; numbers that come twice
// count once. Where they lie is not checked. `ranges` is overwritten, and keeps its memory.
void ParseBalloonPages(std::span<const iovec> readable, std::vector<PageRange>& ranges);

// By tag.
using BalloonStatistics = std::array<std::optional<std::uint64_t>, kBalloonTags>;

// Unknown tags are passed over; of a tag that comes twice the last counts.
BalloonStatistics ParseBalloonStatistics(std::span<const iovec> readable);

}  // namespace gemel::virtio
