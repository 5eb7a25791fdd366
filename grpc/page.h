// Pages of a List: by name, so that what exists throughout is on exactly one page.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "grpc/api_error.h"

namespace gemel::daemon {

struct Page {
  std::size_t size = 100;  // 1 to 1000
  std::string after;       // the last name of the page before; empty: from the start
};

// kInvalidArgument naming page_size or page_token: also for a token of another `query` (parent and
// filter).
ApiResult<Page> ParsePage(std::int32_t page_size, std::string_view page_token,
                          std::string_view query);
std::string MakePageToken(std::string_view last_name, std::string_view query);

}  // namespace gemel::daemon
