// Names of resources: "projects/{project}/vms/{vm}" and the like. Pure.
#pragma once
#include <string>
#include <string_view>

#include "grpc/api_error.h"

namespace gemel::daemon {

// "vms", "disks", "networks", "operations".
struct ResourceName {
  std::string project;
  std::string id;
};

// 1 to 63 of [a-z0-9-], begins with a letter, does not end with '-'.
bool IsResourceId(std::string_view id);

// kInvalidArgument naming `field` unless `name` is "projects/{project}/<collection>/{id}".
ApiResult<ResourceName> ParseResourceName(std::string_view field, std::string_view collection,
                                          std::string_view name);
// "web" of "projects/web", "-" of "projects/-" where that is allowed.
enum class Wildcard : bool { kRefused, kAllowed };
ApiResult<std::string> ParseParent(std::string_view field, std::string_view parent,
                                   Wildcard wildcard);
std::string MakeResourceName(std::string_view project, std::string_view collection,
                             std::string_view id);
// "projects/web" of any name below it; empty for others.
std::string ProjectOf(std::string_view name);
// What follows the last '/'.
std::string_view LastPart(std::string_view name);

}  // namespace gemel::daemon
