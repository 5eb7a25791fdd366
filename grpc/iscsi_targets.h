// The iSCSI targets that an administrator has declared, by the names that machines' specs use for them.
// Secrets and addresses stay in the node's configuration: the API has names alone. Pure.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "vmm/config/iscsi_config.h"

namespace gemel::daemon {

struct IscsiTarget {
  std::string portal;     // "10.0.0.9:3260", "[fd00::9]", a name; without a port 3260
  std::string iqn;        // the target's own name
  std::string chap_user;  // empty: no CHAP
  std::string chap_secret_file;
  std::vector<std::string> projects;  // whose machines may have its disks; none: all
  bool operator==(const IscsiTarget&) const = default;
};

struct IscsiTargets {
  std::string initiator;  // what this node's initiator names begin with
  std::map<std::string, IscsiTarget> targets;
};

// kInvalidArgument naming the key and its value. Without an initiator, which has a default.
Status Validate(const IscsiTargets& targets);
// Of a node that was told none.
std::string DefaultInitiator(std::string_view node);

// The target of that name, for a machine of that project ("web"). kInvalidArgument says what there is.
Result<const IscsiTarget*> FindTarget(const IscsiTargets& targets, std::string_view name,
                                      std::string_view project);
// Where that disk is, without an initiator. kInvalidArgument for a LUN that cannot be.
Result<IscsiConfig> LunOf(const IscsiTarget& target, std::uint32_t lun);
// Who a machine of this node's own is to the target. A restart is the same nexus as before, so the target
// ends what is left of the process that was (RFC 7143, 6.3.5).
void SetMachineNexus(const IscsiTargets& targets, std::string_view uid, std::uint32_t disk,
                     IscsiConfig& iscsi);

}  // namespace gemel::daemon
