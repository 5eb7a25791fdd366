// Updates by field mask (AIP-134, AIP-161), and what differs between two messages. Pure.
#pragma once
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/message.h>

#include <string>
#include <string_view>
#include <vector>

#include "grpc/api_error.h"

namespace gemel::daemon {

// Copies from `update` to `target` (messages of one type) what `mask` names: a path ("spec.cpu.count"),
// "*" for all of `allowed`, or, if the mask is empty, each of `allowed` that is set in `update`.
// kInvalidArgument naming update_mask for a path that is not one of `allowed` or below one.
ApiResult<void> ApplyMask(const google::protobuf::FieldMask& mask,
                          const std::vector<std::string_view>& allowed,
                          const google::protobuf::Message& update,
                          google::protobuf::Message& target);

// Paths of the fields that differ: into singular messages, not into lists and maps.
std::vector<std::string> DifferingPaths(const google::protobuf::Message& a,
                                        const google::protobuf::Message& b);

}  // namespace gemel::daemon
