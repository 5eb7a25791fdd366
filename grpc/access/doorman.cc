#include "grpc/access/doorman.h"

namespace gemel::access {
namespace {

// The policy's word for what a list of all projects is a list of.
std::string_view ScopeOf(std::string_view parent) {
  return parent.empty() || parent == "projects/-" || parent == "projects" ? "*" : parent;
}

}  // namespace

void Doorman::RecordDenied(const PeerFacts& facts, const Caller* caller, const Call& call,
                           const Error& error) const {
  Caller unknown;
  unknown.address = facts.peer;
  Record(caller == nullptr ? unknown : *caller, call, error.code, error.message);
}

Result<Caller> Doorman::Recognise(const PeerFacts& facts, const Call& call) const {
  auto caller = identities_->Identify(facts);
  if (!caller) RecordDenied(facts, nullptr, call, caller.error());
  if (!caller || facts.forwarded.empty() || !caller->via.empty()) return caller;
  const Error error{
      Code::kPermissionDenied,
      fmt::format("{} speaks for somebody else: nodes of the cluster alone may", caller->name)};
  RecordDenied(facts, &*caller, call, error);
  return std::unexpected(error);
}

Result<Caller> Doorman::Admit(const PeerFacts& facts, const Call& call) const {
  auto caller = Recognise(facts, call);
  if (!caller) return caller;
  if (auto allowed = authorizer_->Check(*caller, call.permission, call.resource); !allowed) {
    RecordDenied(facts, &*caller, call, allowed.error());
    return std::unexpected(std::move(allowed).error());
  }
  return caller;
}

Result<Caller> Doorman::AdmitToList(const PeerFacts& facts, const Call& call) const {
  auto caller = Recognise(facts, call);
  if (!caller) return caller;
  if (auto allowed = authorizer_->CheckList(*caller, ScopeOf(call.resource)); !allowed) {
    RecordDenied(facts, &*caller, call, allowed.error());
    return std::unexpected(std::move(allowed).error());
  }
  return caller;
}

bool Doorman::MaySee(const Caller& caller, std::string_view resource) const {
  return authorizer_->Check(caller, Permission::kRead, resource).has_value();
}

Status Doorman::StillAdmitted(const PeerFacts& facts, const Call& call) const {
  const auto caller = identities_->Identify(facts);
  if (!caller) return std::unexpected(caller.error());
  return authorizer_->Check(*caller, call.permission, call.resource);
}

Status Doorman::StillKnown(const PeerFacts& facts) const {
  const auto caller = identities_->Identify(facts);
  if (!caller) return std::unexpected(caller.error());
  return {};
}

void Doorman::Record(const Caller& caller, const Call& call, Code outcome,
                     std::string_view message) const {
  // A failure is in the daemon's log already; the call has happened.
  static_cast<void>(audit_->Append(
      {caller, call.method, call.resource, outcome, std::string(message), call.request_id}));
}

}  // namespace gemel::access
