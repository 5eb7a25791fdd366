#include "grpc/access_words.h"

#include <algorithm>
#include <array>
#include <optional>

#include "grpc/uuid.h"

namespace gemel::daemon {
namespace {

using access::Permission;

struct MethodVerb {
  std::string_view verb;
  Permission permission;
};
constexpr std::array<MethodVerb, 21> kVerbs = {{
    {"Get", Permission::kRead},
    {"List", Permission::kRead},
    {"Watch", Permission::kRead},
    {"Inspect", Permission::kRead},
    {"ListStats", Permission::kRead},
    {"ListPools", Permission::kRead},
    {"ListLeases", Permission::kRead},
    {"Wait", Permission::kRead},
    {"Start", Permission::kOperate},
    {"Shutdown", Permission::kOperate},
    {"Stop", Permission::kOperate},
    {"Reset", Permission::kOperate},
    {"Pause", Permission::kOperate},
    {"Resume", Permission::kOperate},
    {"Cancel", Permission::kOperate},
    {"Attach", Permission::kConsole},
    {"Create", Permission::kChange},
    {"Update", Permission::kChange},
    {"Delete", Permission::kChange},
    {"Upload", Permission::kChange},
    {"CreateBinding", Permission::kGrant},
}};

struct QuotaField {
  std::string_view name;
  std::optional<std::uint64_t> access::Quota::* limit;
};
constexpr std::array<QuotaField, 6> kQuotaFields = {{
    {"vms", &access::Quota::vms},
    {"running_vms", &access::Quota::running_vms},
    {"cpus", &access::Quota::cpus},
    {"memory_bytes", &access::Quota::memory_bytes},
    {"disk_bytes", &access::Quota::disk_bytes},
    {"networks", &access::Quota::networks},
}};

std::uint64_t AmountOf(const v1::QuotaAmounts& amounts, std::string_view field) {
  if (field == "vms") return amounts.vms();
  if (field == "running_vms") return amounts.running_vms();
  if (field == "cpus") return amounts.cpus();
  if (field == "memory_bytes") return amounts.memory_bytes();
  if (field == "disk_bytes") return amounts.disk_bytes();
  return amounts.networks();
}

std::string HashOf(const access::Binding& binding) {
  return fmt::format("{:016x}", Fnv1a(fmt::format("{} {} {}", access::RoleName(binding.role),
                                                  binding.member, binding.resource)));
}

}  // namespace

std::string BindingName(const access::Binding& binding) { return "bindings/" + HashOf(binding); }

v1::Binding ToProto(const access::Binding& binding) {
  v1::Binding proto;
  proto.set_name(BindingName(binding));
  proto.set_etag(HashOf(binding));
  proto.set_member(Printable(binding.member));
  proto.set_role(static_cast<v1::Role>(static_cast<int>(binding.role) + v1::ROLE_VIEWER));
  proto.set_resource(Printable(binding.resource));
  return proto;
}

ApiResult<access::Binding> FromProto(const v1::Binding& proto) {
  if (proto.role() < v1::ROLE_VIEWER || proto.role() > v1::ROLE_ADMIN)
    return std::unexpected(InvalidField(
        "binding.role",
        fmt::format("{}: not VIEWER, OPERATOR or ADMIN", static_cast<int>(proto.role()))));
  access::Binding binding{static_cast<access::Role>(proto.role() - v1::ROLE_VIEWER), proto.member(),
                          proto.resource()};
  if (const Status valid = access::Validate(binding); !valid) {
    const bool member = valid.error().message.starts_with("member");
    return std::unexpected(InvalidField(member ? "binding.member" : "binding.resource",
                                        Printable(valid.error().message)));
  }
  return binding;
}

v1::QuotaAmounts ToProto(const access::Quota& quota) {
  v1::QuotaAmounts amounts;
  amounts.set_vms(static_cast<std::uint32_t>(quota.vms.value_or(0)));
  amounts.set_running_vms(static_cast<std::uint32_t>(quota.running_vms.value_or(0)));
  amounts.set_cpus(static_cast<std::uint32_t>(quota.cpus.value_or(0)));
  amounts.set_memory_bytes(quota.memory_bytes.value_or(0));
  amounts.set_disk_bytes(quota.disk_bytes.value_or(0));
  amounts.set_networks(static_cast<std::uint32_t>(quota.networks.value_or(0)));
  return amounts;
}

ApiResult<void> MergeQuota(const v1::UpdateQuotaRequest& request, access::Quota& quota) {
  constexpr std::string_view kLimits = "limits.";
  const auto set = [&](const QuotaField& field) {
    const std::uint64_t amount = AmountOf(request.quota().limits(), field.name);
    quota.*field.limit = amount == 0 ? std::nullopt : std::optional(amount);
  };
  if (request.update_mask().paths().empty()) {
    for (const QuotaField& field : kQuotaFields)
      if (AmountOf(request.quota().limits(), field.name) != 0) set(field);
    return {};
  }
  for (const std::string& path : request.update_mask().paths()) {
    const bool all = path == "*" || path == "limits";
    const std::string_view name =
        path.starts_with(kLimits) ? std::string_view(path).substr(kLimits.size()) : "";
    const auto* const field = std::ranges::find(kQuotaFields, name, &QuotaField::name);
    if (!all && field == kQuotaFields.end())
      return std::unexpected(
          InvalidField("update_mask", fmt::format("\"{}\": not a limit", Printable(path))));
    if (!all) set(*field);
    for (const QuotaField& one : kQuotaFields)
      if (all) set(one);
  }
  return {};
}

ApiResult<std::string> QuotaProject(const std::string& name) {
  constexpr std::string_view kEnd = "/quota";
  std::string project = name.ends_with(kEnd) ? name.substr(0, name.size() - kEnd.size()) : "";
  if (!access::ValidateQuotaName(project))
    return std::unexpected(
        InvalidField("name", fmt::format("\"{}\": not projects/NAME/quota", Printable(name))));
  return project;
}

ApiResult<Permission> PermissionOf(std::string_view method) {
  const std::size_t dot = std::min(method.rfind('.'), method.size());
  const std::string_view verb = method.substr(std::min(dot + 1, method.size()));
  const auto* const found = std::ranges::find(kVerbs, verb, &MethodVerb::verb);
  if (found == kVerbs.end())
    return std::unexpected(
        InvalidField("permission", fmt::format("\"{}\": not SERVICE.METHOD", Printable(method))));
  return found->permission;
}

}  // namespace gemel::daemon
