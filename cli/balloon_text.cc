#include "cli/balloon_text.h"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>

namespace gemel::cli {
namespace {

struct Field {
  std::uint32_t tag;
  std::string_view name;
  bool is_size;
};

// What tells whether the guest can spare more comes first.
constexpr Field kFields[] = {
    {4, "free", true},          {6, "available", true},     {5, "total", true},
    {7, "caches", true},        {0, "swapped in", true},    {1, "swapped out", true},
    {2, "major faults", false}, {3, "minor faults", false},
};

std::string Mebibytes(std::uint64_t bytes) { return fmt::format("{} MiB", bytes >> 20); }

}  // namespace

std::vector<std::string> BalloonText(const BalloonInfo& balloon) {
  std::vector<std::string> lines = {fmt::format(
      "balloon: {} asked for, {} given; {} reported as free since it started",
      Mebibytes(balloon.target), Mebibytes(balloon.actual), Mebibytes(balloon.reported))};
  if (balloon.statistics_age_ms < 0) return lines;
  std::string text;
  for (const Field& field : kFields) {
    const auto found = balloon.statistics.find(field.tag);
    if (found == balloon.statistics.end()) continue;
    text += text.empty() ? " " : ", ";
    text += field.is_size ? fmt::format("{} {}", field.name, Mebibytes(found->second))
                          : fmt::format("{} {}", field.name, found->second);
  }
  lines.push_back(fmt::format("balloon: the guest's memory, {:.1f} s ago:{}",
                              static_cast<double>(balloon.statistics_age_ms) / 1000, text));
  return lines;
}

}  // namespace gemel::cli
