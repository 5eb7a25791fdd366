#include "etcd/record_value.h"

#include <charconv>

namespace gemel::etcd {

using internal::ClusterValue;

namespace {
constexpr std::uint32_t kRecordFormat = 1;
}  // namespace

std::optional<std::uint32_t> ParseNumber(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || number == 0 || text.front() == '0') return std::nullopt;
  return number;
}

std::string Serialize(ClusterValue value) {
  value.set_format(kRecordFormat);
  return value.SerializeAsString();
}

Result<ClusterValue> Parse(std::string_view bytes, ClusterValue::RecordCase wanted,
                           std::size_t most_bytes) {
  ClusterValue value;
  if (bytes.size() > most_bytes ||
      !value.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return InvalidArgument("{} bytes that are no record of the cluster's", bytes.size());
  if (value.format() > kRecordFormat)
    return MakeError(
        Code::kUnimplemented,
        fmt::format("a record of format {}: this version reads {}", value.format(), kRecordFormat));
  if (value.format() != kRecordFormat || value.record_case() != wanted)
    return InvalidArgument("a record of format {} and kind {}: not what this key is for",
                           value.format(), static_cast<int>(value.record_case()));
  return value;
}

}  // namespace gemel::etcd
