// What a caller may write on any resource to find it again. Pure.
#pragma once
#include <google/protobuf/map.h>

#include <string>
#include <string_view>

#include "grpc/api_error.h"

namespace gemel::daemon {

// At most 64 labels, keys of 1 to 63 of [a-z0-9_./-], values of up to 63 bytes; a description of up to
// 1024. kInvalidArgument naming "<prefix>.labels" or "<prefix>.description".
ApiResult<void> CheckLabels(const google::protobuf::Map<std::string, std::string>& labels,
                            const std::string& description, std::string_view prefix);

}  // namespace gemel::daemon
