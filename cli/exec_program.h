// Becomes another program of ours, git-style: gemel pki ... is gemel-pki ...
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gemel::cli {

// Returns only if it cannot: kNotFound names where the program should be. `environment` is the
// variable that says where else it is, `build_folder` where a build tree has it.
Error ExecProgram(std::string_view name, std::string_view build_folder, const char* environment,
                  std::span<const std::string> words);

}  // namespace gemel::cli
