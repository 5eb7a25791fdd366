#include "grpc/access/authorizer.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "base/log.h"

namespace gemel::access {
namespace {

// FNV-1a of the text: tells versions apart, proves nothing.
std::string EtagOf(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{:016x}", hash);
}

Policy FirstPolicy() {
  Policy policy;
  policy.bindings.push_back({Role::kAdmin, "uid:0", "*"});
  if (geteuid() != 0)
    policy.bindings.push_back({Role::kAdmin, fmt::format("uid:{}", geteuid()), "*"});
  return policy;
}

bool SomebodyIsAdmin(const Policy& policy) {
  return std::ranges::any_of(policy.bindings, [](const Binding& binding) {
    return binding.role == Role::kAdmin && binding.resource == "*";
  });
}

std::unexpected<Error> Denied(const Caller& caller, Permission permission,
                              std::string_view resource) {
  const std::string_view what = resource == "*" ? "everything" : resource;
  const std::string_view role = RoleName(RoleFor(permission));
  return MakeError(
      Code::kPermissionDenied,
      fmt::format("{} may not {} {}: that takes the role {} (an admin gives it with: gemel access "
                  "grant {} {} {})",
                  caller.name, PermissionName(permission), what, role, role, caller.name,
                  resource == "*" ? "'*'" : resource));
}

}  // namespace

Result<std::unique_ptr<PolicyStore>> PolicyStore::Open(const std::string& path) {
  std::unique_ptr<PolicyStore> store(new PolicyStore(path));
  if (StampOf(path).size < 0) RETURN_IF_ERROR(ReplaceFile(path, FormatPolicy(FirstPolicy())));
  const MutexLock lock(store->mutex_);
  RETURN_IF_ERROR(store->LoadLocked());
  return store;
}

Status PolicyStore::LoadLocked() const {
  // The stamp first: a change between the two is read again next time.
  const FileStamp stamp = StampOf(path_);
  auto text = ReadTextFile(path_);
  if (!text) return std::unexpected(std::move(text).error());
  auto policy = ParsePolicy(*text);
  stamp_ = stamp;
  if (!policy) return WithContext(std::move(policy).error(), path_);
  current_ = {std::make_shared<const Policy>(*std::move(policy)), EtagOf(*text)};
  return {};
}

void PolicyStore::RefreshLocked() const {
  const FileStamp stamp = StampOf(path_);
  if (stamp == stamp_) return;
  if (const auto loaded = LoadLocked(); !loaded) {
    stamp_ = stamp;
    LOG_UNLIMITED(kError, "access", "{}; the policy before it stays in force",
                  loaded.error().message);
  }
}

PolicyStore::Versioned PolicyStore::Get() const {
  const MutexLock lock(mutex_);
  RefreshLocked();
  return current_;
}

Status PolicyStore::Check(const Caller& caller, Permission permission,
                          std::string_view resource) const {
  if (Allows(*Get().policy, caller, permission, resource)) return {};
  return Denied(caller, permission, resource);
}

Status PolicyStore::CheckList(const Caller& caller, std::string_view parent) const {
  if (AllowsSomeReadIn(*Get().policy, caller, parent)) return {};
  return Denied(caller, Permission::kRead, parent);
}

Status PolicyStore::CheckQuota(std::string_view project, const Usage& used,
                               const Usage& more) const {
  return access::CheckQuota(*Get().policy, project, used, more);
}

Result<std::string> PolicyStore::Set(const Policy& policy, std::string_view etag) {
  for (const Binding& binding : policy.bindings) RETURN_IF_ERROR(Validate(binding));
  for (const auto& [project, quota] : policy.quotas) RETURN_IF_ERROR(ValidateQuotaName(project));
  if (!SomebodyIsAdmin(policy)) {
    return FailedPrecondition(
        "bindings: nobody would be admin of everything (*), and nobody could change that again");
  }
  const MutexLock lock(mutex_);
  RefreshLocked();
  if (!etag.empty() && etag != current_.etag) {
    return MakeError(Code::kAborted,
                     fmt::format("etag: {}: the policy has changed since; it is {} now. Read it "
                                 "again and repeat the change",
                                 etag, current_.etag));
  }
  RETURN_IF_ERROR(ReplaceFile(path_, FormatPolicy(policy)));
  RETURN_IF_ERROR(LoadLocked());
  return current_.etag;
}

}  // namespace gemel::access
