// Who may do what: roles bound to members on resources, and quotas of projects. Plain data and pure
// functions; whatever is not allowed here is denied.
//
// Resources are the API's names: "projects/web", "projects/web/vms/db", "nodes/a". "*" is
// everything, also what belongs to no project. A binding on a project reaches all in it.
//
// As text, one a line, '#' begins a comment:
//   admin     user:root     *
//   operator  group:web     projects/web
//   viewer    cert:grafana  projects/web/vms/db
//   quota     projects/web  vms=10 cpus=32 memory=64G disk=1T
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grpc/access/caller.h"

namespace gemel::access {

// Each includes the one before.
enum class Role : std::uint8_t { kViewer, kOperator, kAdmin };

enum class Permission : std::uint8_t {
  kRead,     // viewer: Get, List, Watch, Inspect, a console to read
  kOperate,  // operator: Start, Shutdown, Stop, Reset, Pause, Resume, cancel an operation
  kConsole,  // operator: type on a serial console
  kChange,   // admin: Create, Update, Delete. Create asks for it on the parent
  kGrant,    // admin: read and change bindings and quotas
};

struct Binding {
  Role role = Role::kViewer;
  std::string member;
  std::string resource;
  bool operator==(const Binding&) const = default;
};

// nullopt: no limit.
struct Quota {
  std::optional<std::uint64_t> vms{};
  std::optional<std::uint64_t> running_vms{};
  std::optional<std::uint64_t> cpus{};
  std::optional<std::uint64_t> memory_bytes{};
  std::optional<std::uint64_t> disk_bytes{};
  std::optional<std::uint64_t> networks{};
  bool operator==(const Quota&) const = default;
};

struct Policy {
  std::vector<Binding> bindings;
  std::map<std::string, Quota> quotas;  // by "projects/web"
  bool operator==(const Policy&) const = default;
};

std::string_view RoleName(Role role);
Result<Role> ParseRole(std::string_view text);
// The role that a permission takes.
Role RoleFor(Permission permission);
// "read", "operate", "use the console of", "change", "manage access to".
std::string_view PermissionName(Permission permission);

// kInvalidArgument with "line 3: ..." for anything not understood: a policy is taken whole or not
// at all.
Result<Policy> ParsePolicy(std::string_view text);
// What ParsePolicy reads back as the same policy.
std::string FormatPolicy(const Policy& policy);
// kInvalidArgument names the field and its value.
Status Validate(const Binding& binding);
Status ValidateQuotaName(std::string_view project);

// Whether `resource` is `scope` or within it, by whole path components.
bool Covers(std::string_view scope, std::string_view resource);

bool Allows(const Policy& policy, const Caller& caller, Permission permission,
            std::string_view resource);
// Whether anything at or below `parent` may be read: then a List of it is answered, with the items
// that Allows lets pass.
bool AllowsSomeReadIn(const Policy& policy, const Caller& caller, std::string_view parent);

// What a project has, or what a change adds to it.
struct Usage {
  std::uint64_t vms = 0;  // defined
  std::uint64_t running_vms = 0;
  std::uint64_t cpus = 0;          // of running VMs
  std::uint64_t memory_bytes = 0;  // of running VMs
  std::uint64_t disk_bytes = 0;    // sizes of disks
  std::uint64_t networks = 0;
};

// kResourceExhausted names what is short, how much of it there is and how much was asked for.
// What is not asked for more of is not held against a project that is over its quota already.
Status CheckQuota(const Policy& policy, std::string_view project, const Usage& used,
                  const Usage& more);

}  // namespace gemel::access
