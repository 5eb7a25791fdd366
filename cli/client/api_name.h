// The API's resource names and the short ones that people type. Pure.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace gemel::cli {

// "projects/default/vms/web" of collection "vms": from "web", "shop/web" (project and name) or the
// whole name. kInvalidArgument for anything else.
Result<std::string> FullName(std::string_view project, std::string_view collection,
                             std::string_view text);
// What people type: "web", or "shop/web" outside `project`.
std::string ShortName(std::string_view project, std::string_view name);
// "web" of "projects/default/vms/web".
std::string LastPart(std::string_view name);

}  // namespace gemel::cli
