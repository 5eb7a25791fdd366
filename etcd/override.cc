#include "etcd/override.h"

#include <fmt/format.h>

#include "proto/internal/cluster.pb.h"

namespace gemel::etcd {
namespace {

constexpr std::uint32_t kOverrideFormat = 1;
constexpr std::size_t kMostOverrideBytes = 4 << 10;

}  // namespace

// '0' is what follows '/'.
KeyRange OverrideRange() { return {"/gemel/cluster/overrides/", "/gemel/cluster/overrides0"}; }

KvTxn::Put OverridePut(const Override& said, std::string_view name) {
  internal::ClusterOverride wire;
  wire.set_format(kOverrideFormat);
  wire.set_time(said.time);
  wire.set_text(said.text);
  return {fmt::format("{}{:020}-{}", OverrideRange().first, said.time, name),
          wire.SerializeAsString()};
}

Result<Override> DecodeOverride(std::string_view value) {
  internal::ClusterOverride wire;
  if (value.size() > kMostOverrideBytes ||
      !wire.ParseFromArray(value.data(), static_cast<int>(value.size())) ||
      wire.format() != kOverrideFormat)
    return InvalidArgument("{} bytes that are no override of this version's", value.size());
  return Override{wire.time(), wire.text()};
}

}  // namespace gemel::etcd
