// What all codecs of the cluster's records share: values are versioned messages
// (proto/internal/cluster.proto), numbers in keys are decimal without leading zeros.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "proto/internal/cluster.pb.h"

namespace gemel::etcd {

// From 1 on; nullopt for anything else.
std::optional<std::uint32_t> ParseNumber(std::string_view text);

// With the format of this version.
std::string Serialize(internal::ClusterValue value);

// kInvalidArgument for what is larger than `most_bytes`, no message, or not `wanted`; kUnimplemented for
// a format of later versions.
Result<internal::ClusterValue> Parse(std::string_view bytes,
                                     internal::ClusterValue::RecordCase wanted,
                                     std::size_t most_bytes);

}  // namespace gemel::etcd
