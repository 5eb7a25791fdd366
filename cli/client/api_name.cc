#include "cli/client/api_name.h"

#include <vector>

namespace gemel::cli {
namespace {

std::vector<std::string_view> PartsOf(std::string_view name) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t slash = name.find('/');
    parts.push_back(name.substr(0, slash));
    if (slash == std::string_view::npos) return parts;
    name.remove_prefix(slash + 1);
  }
}

}  // namespace

Result<std::string> FullName(std::string_view project, std::string_view collection,
                             std::string_view text) {
  const std::vector<std::string_view> parts = PartsOf(text);
  for (const std::string_view part : parts)
    if (part.empty()) return InvalidArgument("name: {}: a part of it is empty", text);
  if (parts.size() == 1) return fmt::format("projects/{}/{}/{}", project, collection, text);
  if (parts.size() == 2) return fmt::format("projects/{}/{}/{}", parts[0], collection, parts[1]);
  if (parts.size() == 4 && parts[0] == "projects" && parts[2] == collection)
    return std::string(text);
  return InvalidArgument("name: {}: not NAME, PROJECT/NAME or projects/PROJECT/{}/NAME", text,
                         collection);
}

std::string ShortName(std::string_view project, std::string_view name) {
  const std::vector<std::string_view> parts = PartsOf(name);
  if (parts.size() != 4 || parts[0] != "projects") return std::string(name);
  if (parts[1] == project) return std::string(parts[3]);
  return fmt::format("{}/{}", parts[1], parts[3]);
}

std::string LastPart(std::string_view name) {
  return std::string(name.substr(name.rfind('/') + 1));
}

}  // namespace gemel::cli
