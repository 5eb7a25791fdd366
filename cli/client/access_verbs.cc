// gemel access: who may do what.
#include "cli/client/api_name.h"
#include "cli/client/commands.h"
#include "cli/report.h"
#include "proto/gemel/v1/access.pb.h"
#include "vmm/config/parse.h"

namespace gemel::cli {
namespace {

constexpr char kHelp[] =
    R"(Examples:
  gemel access grant operator cert:alice projects/web
  gemel access list

Who may do what; nothing is allowed that no binding allows. Roles: viewer (look), operator (and run,
stop, type on consoles), admin (everything).

Usage: gemel access VERB [ARGUMENT]...

Verbs:
  whoami   who the server takes you for, and what you may do
  list     all bindings
  grant    ROLE MEMBER RESOURCE: give a role
  revoke   ROLE MEMBER RESOURCE: take it back
  quota    what a project may have, and has
)";

Table BindingTable() { return Table({{"ROLE"}, {"MEMBER"}, {"RESOURCE"}, {"NAME", true}}); }

std::string RoleWord(v1::Role role) { return EnumWord(v1::Role_Name(role), "ROLE_"); }

void AddBinding(const v1::Binding& binding, Table& table) {
  table.Add(
      {RoleWord(binding.role()), binding.member(), binding.resource(), LastPart(binding.name())});
}

Status WhoAmI(Words words) {
  Session session("access whoami");
  OptionParser parser(R"(Examples:
  gemel access whoami
  gemel access whoami -o json

Who the server takes you for, by which names a binding could mean you, and which do.)");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  v1::WhoAmIResponse who;
  RETURN_IF_ERROR(session.Call("Access/WhoAmI", v1::WhoAmIRequest(), &who));
  if (session.format() != Format::kTable && session.format() != Format::kWide)
    return session.ShowOne(who, who.caller(), Table({}));
  std::string text = fmt::format("{}  from {}\n", who.caller(), who.address());
  for (const std::string& member : who.members()) text += fmt::format("  also {}\n", member);
  Table table = BindingTable();
  for (const v1::Binding& binding : who.bindings()) AddBinding(binding, table);
  return Print(text +
               (who.bindings().empty() ? "no binding means you\n" : table.Text(false, false)));
}

Result<v1::ListBindingsResponse> AllBindings(Session& session) {
  v1::ListBindingsRequest request;
  request.set_page_size(1000);
  v1::ListBindingsResponse all;
  do {
    v1::ListBindingsResponse page;
    RETURN_IF_ERROR(session.Call("Access/ListBindings", request, &page));
    all.mutable_bindings()->MergeFrom(page.bindings());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return all;
}

Status List(Words words) {
  Session session("access list");
  OptionParser parser(R"(Examples:
  gemel access list
  gemel access list -o json

All bindings of what you are an admin of.)");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(const v1::ListBindingsResponse all, AllBindings(session));
  Table table = BindingTable();
  std::vector<const google::protobuf::Message*> messages;
  std::vector<std::string> names;
  for (const v1::Binding& binding : all.bindings()) {
    AddBinding(binding, table);
    messages.push_back(&binding);
    names.push_back(LastPart(binding.name()));
  }
  return session.Show(messages, names, table);
}

struct BindingWords {
  std::string role;
  std::string member;
  std::string resource;
};

void AddBindingWords(OptionParser& parser, BindingWords& words) {
  parser.AddOption("ROLE", words.role, "viewer, operator or admin").Required();
  parser
      .AddOption("MEMBER", words.member, "user:NAME, uid:N, group:NAME, gid:N, cert:NAME, everyone")
      .Required();
  parser.AddOption("RESOURCE", words.resource, "'*', projects/NAME, or projects/NAME/vms/VM")
      .Required();
}

Result<v1::Binding> ToBinding(const BindingWords& words) {
  v1::Binding binding;
  for (const v1::Role role : {v1::ROLE_VIEWER, v1::ROLE_OPERATOR, v1::ROLE_ADMIN})
    if (words.role == RoleWord(role)) binding.set_role(role);
  if (binding.role() == v1::ROLE_UNSPECIFIED)
    return InvalidArgument("role: {}: unknown; there is viewer, operator, admin", words.role);
  binding.set_member(words.member);
  binding.set_resource(words.resource);
  return binding;
}

Status Grant(Words words) {
  Session session("access grant");
  BindingWords binding;
  OptionParser parser(R"(Examples:
  gemel access grant operator cert:alice projects/web
  gemel access grant viewer group:staff '*'

Gives a role on a VM, a project or everything.)");
  AddBindingWords(parser, binding);
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kChange, words));
  if (!go_on) return {};
  v1::CreateBindingRequest request;
  ASSIGN_OR_RETURN(*request.mutable_binding(), ToBinding(binding));
  request.set_request_id(session.request_id());
  request.set_validate_only(session.dry_run());
  v1::Binding made;
  RETURN_IF_ERROR(session.Call("Access/CreateBinding", request, &made));
  Table table = BindingTable();
  AddBinding(made, table);
  return session.ShowOne(made, LastPart(made.name()), table);
}

Status Revoke(Words words) {
  Session session("access revoke");
  BindingWords binding;
  OptionParser parser(R"(Examples:
  gemel access revoke operator cert:alice projects/web
  gemel access revoke viewer group:staff '*'

Takes a role back, from the next call on.)");
  AddBindingWords(parser, binding);
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kChange, words));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(const v1::Binding wanted, ToBinding(binding));
  ASSIGN_OR_RETURN(const v1::ListBindingsResponse all, AllBindings(session));
  for (const v1::Binding& one : all.bindings()) {
    if (one.role() != wanted.role() || one.member() != wanted.member() ||
        one.resource() != wanted.resource())
      continue;
    v1::DeleteBindingRequest request;
    request.set_name(one.name());
    request.set_request_id(session.request_id());
    request.set_validate_only(session.dry_run());
    v1::DeleteBindingResponse done;
    RETURN_IF_ERROR(session.Call("Access/DeleteBinding", request, &done));
    return Print(
        fmt::format("{} {} {}: taken back\n", binding.role, binding.member, binding.resource));
  }
  return std::unexpected(
      WithHint({Code::kNotFound, fmt::format("{} {} {}: there is no such binding", binding.role,
                                             binding.member, binding.resource)},
               "see: gemel access list"));
}

Status SetLimit(const std::string& word, v1::UpdateQuotaRequest& request) {
  const std::size_t equals = std::min(word.find('='), word.size());
  const std::string key = word.substr(0, equals);
  const std::string value = equals == word.size() ? "" : word.substr(equals + 1);
  v1::QuotaAmounts& limits = *request.mutable_quota()->mutable_limits();
  request.mutable_update_mask()->add_paths("limits." + (key == "running" ? "running_vms"
                                                        : key == "memory" || key == "disk"
                                                            ? key + "_bytes"
                                                            : key));
  if (key == "memory" || key == "disk") {
    std::uint64_t size = 0;
    if (value != "0") {
      ASSIGN_OR_RETURN(size, ParseSize(key, value));
    }
    key == "memory" ? limits.set_memory_bytes(size) : limits.set_disk_bytes(size);
    return {};
  }
  ASSIGN_OR_RETURN(const std::uint32_t count, ParseNumber(key, value, 0, 1'000'000));
  if (key == "vms")
    limits.set_vms(count);
  else if (key == "running")
    limits.set_running_vms(count);
  else if (key == "cpus")
    limits.set_cpus(count);
  else if (key == "networks")
    limits.set_networks(count);
  else
    return InvalidArgument(
        "quota: {}: unknown; there is vms, running, cpus, memory, disk, networks", key);
  return {};
}

Status ShowQuota(const Session& session, const v1::Quota& quota) {
  Table table({{"WHAT"}, {"LIMIT"}, {"USED"}});
  const auto add = [&table](const char* what, std::uint64_t limit, std::uint64_t used, bool size) {
    const auto shown = [size](std::uint64_t value) {
      return size ? RoughSize(value) : fmt::format("{}", value);
    };
    table.Add({what, limit == 0 ? "" : shown(limit), shown(used)});
  };
  const v1::QuotaAmounts& limit = quota.limits();
  const v1::QuotaAmounts& used = quota.usage();
  add("vms", limit.vms(), used.vms(), false);
  add("running", limit.running_vms(), used.running_vms(), false);
  add("cpus", limit.cpus(), used.cpus(), false);
  add("memory", limit.memory_bytes(), used.memory_bytes(), true);
  add("disk", limit.disk_bytes(), used.disk_bytes(), true);
  add("networks", limit.networks(), used.networks(), false);
  return session.ShowOne(quota, quota.name(), table);
}

Status Quota(Words words) {
  Session session("access quota");
  std::vector<std::string> limits;
  OptionParser parser(R"(Examples:
  gemel access quota
  gemel access quota -p web vms=10 cpus=32 memory=64G disk=1T

What the project may have, and has; with LIMITs, changes it. 0 is no limit.)");
  parser.AddOption("LIMIT", limits, "vms=N running=N cpus=N memory=SIZE disk=SIZE networks=N");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kChange, words));
  if (!go_on) return {};
  const std::string name = session.parent() + "/quota";
  v1::Quota quota;
  if (limits.empty()) {
    v1::GetQuotaRequest request;
    request.set_name(name);
    RETURN_IF_ERROR(session.Call("Access/GetQuota", request, &quota));
    return ShowQuota(session, quota);
  }
  v1::UpdateQuotaRequest request;
  request.mutable_quota()->set_name(name);
  for (const std::string& word : limits) RETURN_IF_ERROR(SetLimit(word, request));
  request.set_request_id(session.request_id());
  request.set_validate_only(session.dry_run());
  RETURN_IF_ERROR(session.Call("Access/UpdateQuota", request, &quota));
  return ShowQuota(session, quota);
}

}  // namespace

Noun AccessNoun() {
  static constexpr VerbEntry kVerbs[] = {
      {"whoami", WhoAmI}, {"list", List}, {"grant", Grant}, {"revoke", Revoke}, {"quota", Quota}};
  return {"access", kHelp, kVerbs};
}

}  // namespace gemel::cli
