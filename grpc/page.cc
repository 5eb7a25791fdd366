#include "grpc/page.h"

#include <fmt/format.h>

#include <algorithm>

#include "grpc/uuid.h"

namespace gemel::daemon {
namespace {

constexpr std::size_t kDefaultPage = 100;
constexpr std::int32_t kMaxPage = 1000;
constexpr std::size_t kMaxToken = 1024;

// So that a token that was made up, or belongs to another query, is not taken for ours.
std::string Seal(std::string_view name, std::string_view query) {
  return fmt::format("{:016x}", Fnv1a(name, Fnv1a(query)));
}

}  // namespace

ApiResult<Page> ParsePage(std::int32_t page_size, std::string_view page_token,
                          std::string_view query) {
  Page page;
  if (page_size < 0)
    return std::unexpected(InvalidField("page_size", fmt::format("{} is negative", page_size)));
  page.size =
      page_size == 0 ? kDefaultPage : static_cast<std::size_t>(std::min(page_size, kMaxPage));
  if (page_token.empty()) return page;
  const std::size_t colon = page_token.find(':');
  if (page_token.size() <= kMaxToken && colon != std::string_view::npos) {
    const std::string_view name = page_token.substr(colon + 1);
    if (page_token.substr(0, colon) == Seal(name, query)) {
      page.after = std::string(name);
      return page;
    }
  }
  return std::unexpected(
      InvalidField("page_token", fmt::format("\"{}\" is not of a page with this parent and filter",
                                             page_token.substr(0, 100))));
}

std::string MakePageToken(std::string_view last_name, std::string_view query) {
  return fmt::format("{}:{}", Seal(last_name, query), last_name);
}

}  // namespace gemel::daemon
