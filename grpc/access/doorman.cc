#include "grpc/access/doorman.h"

#include <algorithm>
#include <array>

namespace gemel::access {
namespace {

// The policy's word for what a list of all projects is a list of.
std::string_view ScopeOf(std::string_view parent) {
  return parent.empty() || parent == "projects/-" || parent == "projects" ? "*" : parent;
}

// What nodes pass on for somebody (grpc/forwarder.h); all else is asked of the node itself.
bool IsPassedOn(std::string_view method) {
  constexpr std::array<std::string_view, 11> kMethods = {
      "VirtualMachines/Shutdown", "VirtualMachines/Reset",   "VirtualMachines/Pause",
      "VirtualMachines/Resume",   "VirtualMachines/Inspect", "VirtualMachines/ListStats",
      "Consoles/Attach",          "Consoles/Write",          "Operations/Get",
      "Operations/Wait",          "Operations/Cancel"};
  return std::ranges::any_of(kMethods, [&](std::string_view one) { return method.ends_with(one); });
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
  if (!caller || facts.forwarded.empty()) return caller;
  const bool node = !caller->via.empty();
  if (node && IsPassedOn(call.method)) return caller;
  const Error error{Code::kPermissionDenied,
                    node
                        ? fmt::format("{} is not passed on between nodes", call.method)
                        : fmt::format("{} speaks for somebody else: nodes of the cluster alone may",
                                      caller->name)};
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
