#include "grpc/access_service.h"

#include <algorithm>
#include <functional>
#include <map>

#include "grpc/access_words.h"

namespace gemel::daemon {
namespace {

using access::Permission;

// A policy that changed between our reading and writing it is read again.
constexpr int kTries = 5;

ApiError Changed(const Error& error) { return FromError(error, reason::kStoreFailed); }

// Applies `change` to the policy and stores it. `change` may fail.
ApiResult<void> ChangePolicy(access::PolicyStore* store, bool validate_only,
                             const std::function<ApiResult<void>(access::Policy&)>& change) {
  for (int tries = 0;; ++tries) {
    const auto current = store->Get();
    access::Policy next = *current.policy;
    if (auto changed = change(next); !changed) return changed;
    if (validate_only) return {};
    const auto stored = store->Set(next, current.etag);
    if (stored) return {};
    if (stored.error().code != Code::kAborted || tries >= kTries)
      return std::unexpected(Changed(stored.error()));
  }
}

// The first binding that does; none for the daemon itself.
std::string WhatAllows(const access::Policy& policy, const access::Caller& caller,
                       Permission permission, std::string_view resource) {
  for (const access::Binding& binding : policy.bindings) {
    if (binding.role >= access::RoleFor(permission) && access::Covers(binding.resource, resource) &&
        access::Answers(caller, binding.member))
      return fmt::format("{} is {} of {}", binding.member, access::RoleName(binding.role),
                         binding.resource);
  }
  return {};
}

}  // namespace

grpc::ServerUnaryReactor* AccessService::WhoAmI(grpc::CallbackServerContext* context,
                                                const v1::WhoAmIRequest*,
                                                v1::WhoAmIResponse* response) {
  const auto caller = services_->gate->Recognise(*context, "Access/WhoAmI", Permission::kRead, "");
  if (!caller)
    return Answer<v1::WhoAmIResponse>(services_, context, std::unexpected(caller.error()),
                                      response);
  v1::WhoAmIResponse who;
  who.set_caller(Printable(caller->name));
  who.set_address(Printable(caller->address));
  for (const std::string& member : caller->also) who.add_members(Printable(member));
  for (const access::Binding& binding : policy_->Get().policy->bindings)
    if (access::Answers(*caller, binding.member)) *who.add_bindings() = ToProto(binding);
  return Answer<v1::WhoAmIResponse>(services_, context, who, response);
}

grpc::ServerUnaryReactor* AccessService::Check(grpc::CallbackServerContext* context,
                                               const v1::CheckAccessRequest* request,
                                               v1::CheckAccessResponse* response) {
  const auto caller =
      services_->gate->Recognise(*context, "Access/Check", Permission::kRead, request->resource());
  if (!caller)
    return Answer<v1::CheckAccessResponse>(services_, context, std::unexpected(caller.error()),
                                           response);
  const auto permission = PermissionOf(request->permission());
  if (!permission)
    return Answer<v1::CheckAccessResponse>(services_, context, std::unexpected(permission.error()),
                                           response);
  const Status allowed =
      services_->gate->doorman().May(*caller, *permission, Printable(request->resource()));
  v1::CheckAccessResponse answer;
  answer.set_allowed(allowed.has_value());
  answer.set_message(Printable(
      allowed ? WhatAllows(*policy_->Get().policy, *caller, *permission, request->resource())
              : allowed.error().message));
  return Answer<v1::CheckAccessResponse>(services_, context, answer, response);
}

ApiResult<v1::Binding> AccessService::Create(const v1::CreateBindingRequest& request) {
  if (!request.binding_id().empty())
    return std::unexpected(InvalidField(
        "binding_id", fmt::format("\"{}\": the server names bindings by what they say; "
                                  "leave it empty",
                                  Printable(request.binding_id()))));
  auto binding = FromProto(request.binding());
  if (!binding) return std::unexpected(std::move(binding).error());
  auto changed = ChangePolicy(
      policy_, request.validate_only(), [&](access::Policy& policy) -> ApiResult<void> {
        if (std::ranges::find(policy.bindings, *binding) != policy.bindings.end())
          return std::unexpected(ResourceExists("binding", BindingName(*binding), ""));
        policy.bindings.push_back(*binding);
        return {};
      });
  if (!changed) return std::unexpected(std::move(changed).error());
  return ToProto(*binding);
}

grpc::ServerUnaryReactor* AccessService::CreateBinding(grpc::CallbackServerContext* context,
                                                       const v1::CreateBindingRequest* request,
                                                       v1::Binding* response) {
  constexpr std::string_view kMethod = "Access/CreateBinding";
  const std::string& resource = request->binding().resource();
  const auto caller = services_->gate->Admit(*context, kMethod, Permission::kGrant,
                                             resource.empty() ? "*" : resource);
  if (!caller)
    return Answer<v1::Binding>(services_, context, std::unexpected(caller.error()), response);
  const auto made = Create(*request);
  const std::string what = fmt::format("{} {} {}", v1::Role_Name(request->binding().role()),
                                       request->binding().member(), resource);
  services_->gate->Record(*caller, kMethod, what, request->request_id(),
                          made ? nullptr : &made.error());
  return AnswerRecorded(services_, context, made, response);
}

ApiResult<v1::Binding> AccessService::Find(const access::Caller& caller,
                                           const std::string& name) const {
  for (const access::Binding& binding : policy_->Get().policy->bindings) {
    if (BindingName(binding) != name) continue;
    const Status allowed =
        services_->gate->doorman().May(caller, Permission::kGrant, binding.resource);
    if (!allowed) break;
    return ToProto(binding);
  }
  // One that the caller may not see is not told from one that is not there.
  return std::unexpected(ResourceNotFound("binding", Printable(name)));
}

grpc::ServerUnaryReactor* AccessService::GetBinding(grpc::CallbackServerContext* context,
                                                    const v1::GetBindingRequest* request,
                                                    v1::Binding* response) {
  const auto caller = services_->gate->Recognise(*context, "Access/GetBinding", Permission::kGrant,
                                                 request->name());
  if (!caller)
    return Answer<v1::Binding>(services_, context, std::unexpected(caller.error()), response);
  return Answer(services_, context, Find(*caller, request->name()), response);
}

grpc::ServerUnaryReactor* AccessService::ListBindings(grpc::CallbackServerContext* context,
                                                      const v1::ListBindingsRequest* request,
                                                      v1::ListBindingsResponse* response) {
  static const std::vector<std::string_view> kPaths = {"member", "role", "resource"};
  using Response = v1::ListBindingsResponse;
  const auto caller =
      services_->gate->Recognise(*context, "Access/ListBindings", Permission::kGrant, "");
  if (!caller)
    return Answer<Response>(services_, context, std::unexpected(caller.error()), response);
  const std::string query = "bindings " + request->filter();
  const auto page = ParsePage(request->page_size(), request->page_token(), query);
  if (!page) return Answer<Response>(services_, context, std::unexpected(page.error()), response);
  const auto filter = Filter::Parse(request->filter(), v1::Binding::descriptor(), kPaths);
  if (!filter)
    return Answer<Response>(services_, context, std::unexpected(filter.error()), response);
  std::map<std::string, v1::Binding> found;  // by name, as pages go
  for (const access::Binding& binding : policy_->Get().policy->bindings) {
    v1::Binding shown = ToProto(binding);
    if (shown.name() > page->after && filter->Matches(shown) &&
        services_->gate->doorman().May(*caller, Permission::kGrant, binding.resource))
      found.emplace(shown.name(), std::move(shown));
  }
  Response answer;
  for (auto& [name, binding] : found) {
    if (static_cast<std::size_t>(answer.bindings_size()) == page->size) {
      answer.set_next_page_token(MakePageToken(answer.bindings().rbegin()->name(), query));
      break;
    }
    *answer.add_bindings() = std::move(binding);
  }
  return Answer<Response>(services_, context, answer, response);
}

ApiResult<v1::DeleteBindingResponse> AccessService::Delete(
    const access::Caller& caller, const v1::DeleteBindingRequest& request) {
  auto found = Find(caller, request.name());
  if (!found) return std::unexpected(std::move(found).error());
  if (!request.etag().empty() && request.etag() != found->etag())
    return std::unexpected(MakeApiError(
        Code::kAborted, reason::kEtagMismatch,
        fmt::format("etag: \"{}\": it is \"{}\" now", Printable(request.etag()), found->etag())));
  auto changed = ChangePolicy(policy_, request.validate_only(),
                              [&](access::Policy& policy) -> ApiResult<void> {
                                std::erase_if(policy.bindings, [&](const access::Binding& binding) {
                                  return BindingName(binding) == request.name();
                                });
                                return {};
                              });
  if (!changed) return std::unexpected(std::move(changed).error());
  return v1::DeleteBindingResponse();
}

grpc::ServerUnaryReactor* AccessService::DeleteBinding(grpc::CallbackServerContext* context,
                                                       const v1::DeleteBindingRequest* request,
                                                       v1::DeleteBindingResponse* response) {
  constexpr std::string_view kMethod = "Access/DeleteBinding";
  const auto caller =
      services_->gate->Recognise(*context, kMethod, Permission::kGrant, request->name());
  if (!caller)
    return Answer<v1::DeleteBindingResponse>(services_, context, std::unexpected(caller.error()),
                                             response);
  const auto binding = Find(*caller, request->name());
  const std::string what = binding ? fmt::format("{} {} {}", v1::Role_Name(binding->role()),
                                                 binding->member(), binding->resource())
                                   : request->name();
  const auto done = Delete(*caller, *request);
  services_->gate->Record(*caller, kMethod, what, request->request_id(),
                          done ? nullptr : &done.error());
  return AnswerRecorded(services_, context, done, response);
}

v1::Quota AccessService::DescribeQuota(const std::string& project) const {
  const auto current = policy_->Get();
  v1::Quota quota;
  quota.set_name(project + "/quota");
  quota.set_etag(current.etag);
  const auto found = current.policy->quotas.find(project);
  if (found != current.policy->quotas.end()) *quota.mutable_limits() = ToProto(found->second);
  v1::QuotaAmounts& used = *quota.mutable_usage();
  services_->published->vms.Visit(
      project + "/vms/", "", [&used](const std::string&, const auto& vm) {
        used.set_vms(used.vms() + 1);
        if (vm->desired_state() == v1::DESIRED_STATE_STOPPED) return true;
        used.set_running_vms(used.running_vms() + 1);
        used.set_cpus(used.cpus() + vm->spec().cpu().count());
        used.set_memory_bytes(used.memory_bytes() + vm->spec().memory().size_bytes());
        return true;
      });
  services_->published->disks.Visit(project + "/disks/", "",
                                    [&used](const std::string&, const auto& disk) {
                                      used.set_disk_bytes(used.disk_bytes() + disk->size_bytes());
                                      return true;
                                    });
  services_->published->networks.Visit(project + "/networks/", "",
                                       [&used](const std::string&, const auto&) {
                                         used.set_networks(used.networks() + 1);
                                         return true;
                                       });
  return quota;
}

grpc::ServerUnaryReactor* AccessService::GetQuota(grpc::CallbackServerContext* context,
                                                  const v1::GetQuotaRequest* request,
                                                  v1::Quota* response) {
  const auto project = QuotaProject(request->name());
  if (!project)
    return Answer<v1::Quota>(services_, context, std::unexpected(project.error()), response);
  const auto caller =
      services_->gate->Admit(*context, "Access/GetQuota", Permission::kRead, *project);
  if (!caller)
    return Answer<v1::Quota>(services_, context, std::unexpected(caller.error()), response);
  return Answer<v1::Quota>(services_, context, DescribeQuota(*project), response);
}

ApiResult<v1::Quota> AccessService::Update(const v1::UpdateQuotaRequest& request) {
  const auto project = QuotaProject(request.quota().name());
  if (!project) return std::unexpected(project.error());
  auto changed = ChangePolicy(
      policy_, request.validate_only(), [&](access::Policy& policy) -> ApiResult<void> {
        const std::string& etag = request.quota().etag();
        if (const std::string now = policy_->Get().etag; !etag.empty() && etag != now)
          return std::unexpected(
              MakeApiError(Code::kAborted, reason::kEtagMismatch,
                           fmt::format("etag: \"{}\": it is \"{}\" now", Printable(etag), now)));
        access::Quota& quota = policy.quotas[*project];
        auto merged = MergeQuota(request, quota);
        if (merged && quota == access::Quota()) policy.quotas.erase(*project);
        return merged;
      });
  if (!changed) return std::unexpected(std::move(changed).error());
  return DescribeQuota(*project);
}

grpc::ServerUnaryReactor* AccessService::UpdateQuota(grpc::CallbackServerContext* context,
                                                     const v1::UpdateQuotaRequest* request,
                                                     v1::Quota* response) {
  constexpr std::string_view kMethod = "Access/UpdateQuota";
  const auto caller = services_->gate->Admit(*context, kMethod, Permission::kGrant, "*");
  if (!caller)
    return Answer<v1::Quota>(services_, context, std::unexpected(caller.error()), response);
  const auto done = Update(*request);
  services_->gate->Record(*caller, kMethod, request->quota().name(), request->request_id(),
                          done ? nullptr : &done.error());
  return AnswerRecorded(services_, context, done, response);
}

}  // namespace gemel::daemon
