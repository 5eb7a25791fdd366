#include "grpc/access/policy.h"

#include <algorithm>
#include <array>
#include <span>

#include "vmm/config/parse.h"

namespace gemel::access {
namespace {

constexpr std::array<std::string_view, 3> kRoles = {"viewer", "operator", "admin"};
constexpr std::string_view kSpace = " \t\r";
constexpr std::size_t kLongestName = 256;

std::vector<std::string_view> WordsOf(std::string_view line) {
  std::vector<std::string_view> words;
  line = line.substr(0, line.find('#'));
  while (true) {
    const std::size_t start = line.find_first_not_of(kSpace);
    if (start == std::string_view::npos) return words;
    line.remove_prefix(start);
    const std::size_t end = std::min(line.find_first_of(kSpace), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

// No byte that would end a word or begin a comment in the policy's file.
bool IsWord(std::string_view text) {
  return !text.empty() && text.size() <= kLongestName &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c != '#' && c != 0x7f; });
}

// What a quota limits: its word in the file, and where it is kept.
struct QuotaKey {
  std::string_view word;
  std::optional<std::uint64_t> Quota::* limit;
  std::uint64_t Usage::* usage;
  bool bytes;
};
constexpr std::array<QuotaKey, 6> kQuotaKeys = {{
    {"vms", &Quota::vms, &Usage::vms, false},
    {"running", &Quota::running_vms, &Usage::running_vms, false},
    {"cpus", &Quota::cpus, &Usage::cpus, false},
    {"memory", &Quota::memory_bytes, &Usage::memory_bytes, true},
    {"disk", &Quota::disk_bytes, &Usage::disk_bytes, true},
    {"networks", &Quota::networks, &Usage::networks, false},
}};

Result<std::uint64_t> ParseAmount(const QuotaKey& key, std::string_view text) {
  if (key.bytes) return ParseSize(key.word, text);
  ASSIGN_OR_RETURN(const std::uint32_t count, ParseNumber(key.word, text, 0, 1'000'000));
  return std::uint64_t{count};
}

Status ParseLimit(std::string_view word, Quota& quota) {
  const std::size_t equals = word.find('=');
  const std::string_view name = word.substr(0, equals);
  const auto* const key = std::ranges::find(kQuotaKeys, name, &QuotaKey::word);
  if (key == kQuotaKeys.end()) {
    return InvalidArgument(
        "quota: {}: unknown; there is vms, running, cpus, memory, disk, networks", name);
  }
  std::optional<std::uint64_t>& limit = quota.*(key->limit);
  if (limit.has_value()) return InvalidArgument("quota: {}: given more than once", name);
  ASSIGN_OR_RETURN(limit, ParseAmount(*key, equals == word.npos ? "" : word.substr(equals + 1)));
  return {};
}

Status ParseQuotaLine(std::span<const std::string_view> words, Policy& policy) {
  if (words.size() < 2) return InvalidArgument("quota: the project is missing");
  RETURN_IF_ERROR(ValidateQuotaName(words[1]));
  Quota quota;
  for (const std::string_view word : words.subspan(2)) RETURN_IF_ERROR(ParseLimit(word, quota));
  if (!policy.quotas.emplace(words[1], quota).second)
    return InvalidArgument("quota: {}: given more than once", words[1]);
  return {};
}

Status ParseLine(std::string_view line, Policy& policy) {
  const std::vector<std::string_view> words = WordsOf(line);
  if (words.empty()) return {};
  if (words[0] == "quota") return ParseQuotaLine(words, policy);
  ASSIGN_OR_RETURN(const Role role, ParseRole(words[0]));
  if (words.size() != 3) return InvalidArgument("a binding is ROLE MEMBER RESOURCE");
  Binding binding{role, std::string(words[1]), std::string(words[2])};
  RETURN_IF_ERROR(Validate(binding));
  if (std::ranges::find(policy.bindings, binding) == policy.bindings.end())
    policy.bindings.push_back(std::move(binding));
  return {};
}

std::string FormatAmount(const QuotaKey& key, std::uint64_t amount) {
  return key.bytes ? FormatSize(amount) : fmt::format("{}", amount);
}

std::string FormatQuota(std::string_view project, const Quota& quota) {
  std::string line = fmt::format("quota {}", project);
  for (const QuotaKey& key : kQuotaKeys) {
    if (const auto& limit = quota.*key.limit)
      line += fmt::format(" {}={}", key.word, FormatAmount(key, *limit));
  }
  return line + "\n";
}

}  // namespace

bool Answers(const Caller& caller, std::string_view member) {
  if (caller.name.empty()) return false;
  return member == "everyone" || member == caller.name ||
         std::ranges::find(caller.also, member) != caller.also.end();
}

Caller DaemonCaller() { return {Caller::Kind::kDaemon, "daemon", {}, "local"}; }

std::string_view RoleName(Role role) { return kRoles[static_cast<std::size_t>(role)]; }

Result<Role> ParseRole(std::string_view text) {
  const auto* const found = std::ranges::find(kRoles, text);
  if (found == kRoles.end())
    return InvalidArgument("role: {}: unknown; there is viewer, operator, admin", text);
  return static_cast<Role>(found - kRoles.begin());
}

Role RoleFor(Permission permission) {
  switch (permission) {
    case Permission::kRead:
      return Role::kViewer;
    case Permission::kOperate:
    case Permission::kConsole:
      return Role::kOperator;
    case Permission::kChange:
    case Permission::kGrant:
      break;
  }
  return Role::kAdmin;
}

std::string_view PermissionName(Permission permission) {
  static constexpr std::array<std::string_view, 5> kNames = {
      "read", "operate", "use the console of", "change", "manage access to"};
  return kNames[static_cast<std::size_t>(permission)];
}

Status ValidateQuotaName(std::string_view project) {
  const bool fits = IsWord(project) && project.starts_with("projects/") && project.size() > 9 &&
                    project.find('/', 9) == project.npos;
  if (!fits) return InvalidArgument("project: {}: not of the form projects/NAME", project);
  return {};
}

Status Validate(const Binding& binding) {
  static constexpr std::array<std::string_view, 5> kKinds = {
      "user:", "uid:", "group:", "gid:", "cert:"};
  const std::string_view member = binding.member;
  const bool known =
      member == "everyone" || std::ranges::any_of(kKinds, [member](std::string_view kind) {
        return member.starts_with(kind) && member.size() > kind.size();
      });
  if (!known || !IsWord(member)) {
    return InvalidArgument(
        "member: {}: not user:NAME, uid:N, group:NAME, gid:N, cert:NAME or everyone", member);
  }
  const std::string_view resource = binding.resource;
  const bool named = IsWord(resource) && resource.front() != '/' && resource.back() != '/' &&
                     resource.find("//") == resource.npos && resource.find('/') != resource.npos &&
                     resource.find('*') == resource.npos;
  if (resource != "*" && !named)
    return InvalidArgument("resource: {}: not *, projects/NAME or projects/NAME/vms/VM", resource);
  return {};
}

Result<Policy> ParsePolicy(std::string_view text) {
  Policy policy;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    auto parsed = ParseLine(text.substr(0, end), policy);
    if (!parsed) return WithContext(std::move(parsed).error(), fmt::format("line {}", number));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return policy;
}

std::string FormatPolicy(const Policy& policy) {
  std::string text =
      "# Who may do what on this node. Written by gemeld; edits by hand are taken at once.\n"
      "# ROLE (viewer, operator, admin)  MEMBER  RESOURCE\n";
  for (const Binding& binding : policy.bindings)
    text += fmt::format("{} {} {}\n", RoleName(binding.role), binding.member, binding.resource);
  for (const auto& [project, quota] : policy.quotas) text += FormatQuota(project, quota);
  return text;
}

bool Covers(std::string_view scope, std::string_view resource) {
  if (scope == "*" || scope == resource) return true;
  return resource.size() > scope.size() && resource.starts_with(scope) &&
         resource[scope.size()] == '/';
}

bool Allows(const Policy& policy, const Caller& caller, Permission permission,
            std::string_view resource) {
  if (caller.kind == Caller::Kind::kDaemon) return true;
  return std::ranges::any_of(policy.bindings, [&](const Binding& binding) {
    return binding.role >= RoleFor(permission) && Covers(binding.resource, resource) &&
           Answers(caller, binding.member);
  });
}

bool AllowsSomeReadIn(const Policy& policy, const Caller& caller, std::string_view parent) {
  if (Allows(policy, caller, Permission::kRead, parent)) return true;
  return std::ranges::any_of(policy.bindings, [&](const Binding& binding) {
    return Covers(parent, binding.resource) && Answers(caller, binding.member);
  });
}

Status CheckQuota(const Policy& policy, std::string_view project, const Usage& used,
                  const Usage& more) {
  const auto found = policy.quotas.find(std::string(project));
  if (found == policy.quotas.end()) return {};
  for (const QuotaKey& key : kQuotaKeys) {
    const auto& limit = found->second.*key.limit;
    const std::uint64_t wanted = more.*key.usage;
    if (!limit || wanted == 0) continue;
    const std::uint64_t left = *limit > used.*key.usage ? *limit - used.*key.usage : 0;
    if (wanted <= left) continue;
    return MakeError(Code::kResourceExhausted,
                     fmt::format("{}: {}: {} is more than what is left of the project's quota, {} "
                                 "of {}",
                                 key.word, project, FormatAmount(key, wanted),
                                 FormatAmount(key, left), FormatAmount(key, *limit)));
  }
  return {};
}

}  // namespace gemel::access
