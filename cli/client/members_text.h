// The members of this machine's cluster and what keeps it, as gemel-member here sees them.
#pragma once
#include <string>

#include "base/result.h"

namespace gemel::cli {

// Some lines for people; of `gemel cluster members`, and of `status`.
Result<std::string> DescribeMembers(const std::string& config_path);

}  // namespace gemel::cli
