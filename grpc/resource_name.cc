#include "grpc/resource_name.h"

#include <fmt/format.h>

#include <algorithm>

namespace gemel::daemon {
namespace {

constexpr std::string_view kProjects = "projects/";
constexpr std::size_t kMaxIdBytes = 63;

bool IsLetter(char c) { return c >= 'a' && c <= 'z'; }

}  // namespace

bool IsResourceId(std::string_view id) {
  if (id.empty() || id.size() > kMaxIdBytes || !IsLetter(id.front()) || id.back() == '-')
    return false;
  return std::all_of(id.begin(), id.end(),
                     [](char c) { return IsLetter(c) || (c >= '0' && c <= '9') || c == '-'; });
}

ApiResult<ResourceName> ParseResourceName(std::string_view field, std::string_view collection,
                                          std::string_view name) {
  const std::string between = fmt::format("/{}/", collection);
  const std::size_t split = name.find(between);
  if (name.starts_with(kProjects) && split != std::string_view::npos && split >= kProjects.size()) {
    const std::string_view project = name.substr(kProjects.size(), split - kProjects.size());
    const std::string_view id = name.substr(split + between.size());
    if (IsResourceId(project) && IsResourceId(id))
      return ResourceName{std::string(project), std::string(id)};
  }
  return std::unexpected(InvalidField(
      field, fmt::format("\"{}\" is not projects/{{project}}/{}/{{id}} with ids of 1 to 63 of a-z, "
                         "0-9 and '-', beginning with a letter",
                         name, collection)));
}

ApiResult<std::string> ParseParent(std::string_view field, std::string_view parent,
                                   Wildcard wildcard) {
  if (parent.starts_with(kProjects)) {
    const std::string_view project = parent.substr(kProjects.size());
    if (IsResourceId(project) || (wildcard == Wildcard::kAllowed && project == "-"))
      return std::string(project);
  }
  return std::unexpected(
      InvalidField(field, fmt::format("\"{}\" is not projects/{{project}}{}", parent,
                                      wildcard == Wildcard::kAllowed ? " or projects/-" : "")));
}

std::string MakeResourceName(std::string_view project, std::string_view collection,
                             std::string_view id) {
  return fmt::format("projects/{}/{}/{}", project, collection, id);
}

std::string ProjectOf(std::string_view name) {
  if (!name.starts_with(kProjects)) return "";
  return std::string(name.substr(0, name.find('/', kProjects.size())));
}

std::string_view LastPart(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  return slash == std::string_view::npos ? name : name.substr(slash + 1);
}

}  // namespace gemel::daemon
