#include "grpc/labels.h"

#include <fmt/format.h>

namespace gemel::daemon {
namespace {

constexpr std::size_t kMaxLabels = 64;
constexpr std::size_t kMaxLabelBytes = 63;
constexpr std::size_t kMaxDescriptionBytes = 1024;

bool IsKey(const std::string& key) {
  return !key.empty() && key.size() <= kMaxLabelBytes &&
         key.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_./-") == std::string::npos;
}

}  // namespace

ApiResult<void> CheckLabels(const google::protobuf::Map<std::string, std::string>& labels,
                            const std::string& description, std::string_view prefix) {
  const std::string field = fmt::format("{}.labels", prefix);
  if (labels.size() > kMaxLabels)
    return std::unexpected(
        InvalidField(field, fmt::format("{} labels are more than {}", labels.size(), kMaxLabels)));
  for (const auto& [key, value] : labels) {
    if (!IsKey(key))
      return std::unexpected(InvalidField(
          field, fmt::format("the key \"{}\" is not 1 to 63 of a-z, 0-9 and _./-", key)));
    if (value.size() > kMaxLabelBytes)
      return std::unexpected(InvalidField(
          field, fmt::format("the value of \"{}\" has {} bytes, more than 63", key, value.size())));
  }
  if (description.size() > kMaxDescriptionBytes)
    return std::unexpected(InvalidField(
        fmt::format("{}.description", prefix),
        fmt::format("{} bytes are more than {}", description.size(), kMaxDescriptionBytes)));
  return {};
}

}  // namespace gemel::daemon
