#include "grpc/iscsi_targets.h"

#include <algorithm>

#include "grpc/resource_name.h"

namespace gemel::daemon {
namespace {

constexpr std::string_view kDefaultPrefix = "iqn.2026-11.org.gemel";
constexpr std::size_t kMaxInitiatorBytes = 150;  // more follows: storage/nexus.h

// As in a name (RFC 3722): small letters, digits, '.', '-' and ':'.
bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == ':';
}

Status ValidateTarget(const std::string& name, const IscsiTarget& target) {
  const std::string key = "iscsi_targets." + name;
  if (!IsResourceId(name))
    return InvalidArgument("{}: a name is 1 to 63 of a-z, 0-9 and '-', beginning with a letter",
                           key);
  if (target.portal.empty() || target.portal.find_first_of("@/") != std::string::npos)
    return InvalidArgument("{}.portal: \"{}\": not HOST:PORT", key, target.portal);
  if (target.iqn.empty())
    return InvalidArgument("{}.iqn: missing: the target's name, \"iqn.…\"", key);
  if (target.chap_user.empty() != target.chap_secret_file.empty())
    return InvalidArgument("{}: chap_user and chap_secret_file belong together", key);
  if (const auto config = LunOf(target, 0); !config)
    return InvalidArgument("{}: {}", key, config.error().message);
  return {};
}

}  // namespace

Status Validate(const IscsiTargets& targets) {
  const std::string& initiator = targets.initiator;
  if (!initiator.empty() &&
      (initiator.size() > kMaxInitiatorBytes || !std::ranges::all_of(initiator, IsNameCharacter)))
    return InvalidArgument(
        "iscsi_initiator: \"{}\": not up to {} of a-z, 0-9, '.', '-' and ':', as in "
        "iqn.2026-11.org.example:a",
        initiator, kMaxInitiatorBytes);
  for (const auto& [name, target] : targets.targets) RETURN_IF_ERROR(ValidateTarget(name, target));
  return {};
}

std::string DefaultInitiator(std::string_view node) {
  std::string name = fmt::format("{}:", kDefaultPrefix);
  for (char c : node.substr(0, kMaxInitiatorBytes - name.size())) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    name += IsNameCharacter(c) ? c : '-';
  }
  return name;
}

Result<const IscsiTarget*> FindTarget(const IscsiTargets& targets, std::string_view name,
                                      std::string_view project) {
  const auto may_have = [&](const IscsiTarget& target) {
    return target.projects.empty() || std::find(target.projects.begin(), target.projects.end(),
                                                project) != target.projects.end();
  };
  std::vector<std::string_view> all;
  for (const auto& [other, target] : targets.targets) {
    if (!may_have(target)) continue;  // as if it were not there
    if (other == name) return &target;
    all.push_back(other);
  }
  if (all.empty())
    return InvalidArgument("\"{}\": this node has no iSCSI target for project {}", name, project);
  return InvalidArgument("\"{}\" is none of this node's iSCSI targets for project {}: {}", name,
                         project, fmt::join(all, ", "));
}

Result<IscsiConfig> LunOf(const IscsiTarget& target, std::uint32_t lun) {
  ASSIGN_OR_RETURN(IscsiConfig iscsi,
                   ParseIscsiUrl(fmt::format("iscsi://{}/{}/{}", target.portal, target.iqn, lun)));
  iscsi.user = target.chap_user;
  iscsi.secret_file = target.chap_secret_file;
  return iscsi;
}

void SetMachineNexus(const IscsiTargets& targets, std::string_view uid, std::uint32_t disk,
                     IscsiConfig& iscsi) {
  iscsi.initiator = fmt::format("{}:{}", targets.initiator, uid);
  iscsi.isid = disk + 1;
}

}  // namespace gemel::daemon
