// JSON as block-style YAML 1.2. Pure.
#pragma once
#include <string>
#include <string_view>

namespace gemel::cli {

// `json` is valid, as a library wrote it. Words that YAML could take for something else stay quoted.
std::string JsonToYaml(std::string_view json);

}  // namespace gemel::cli
