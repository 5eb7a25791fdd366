// Secrets that are not keys: made of random bytes, and compared without telling by time how much of
// a guess was right.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gemel::pki {

Result<std::string> RandomBytes(std::size_t count);
// The time depends on their sizes alone.
bool SecretsEqual(std::string_view one, std::string_view other);

}  // namespace gemel::pki
