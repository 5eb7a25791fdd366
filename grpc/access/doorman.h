// What every call passes first: who is it, may they, and if not, the record of it. Then, of every
// mutating call, the record of how it ended.
//
//   auto caller = doorman.Admit(FactsOf(*context), {kStart, Permission::kOperate, name, request_id});
//   if (!caller) return Finish(caller.error());
//   ... doorman.Record(*caller, call, outcome);
#pragma once
#include <functional>
#include <string>
#include <utility>

#include "base/result.h"
#include "grpc/access/audit_log.h"
#include "grpc/access/authorizer.h"
#include "grpc/access/identity.h"

namespace gemel::access {

struct Call {
  std::string method;  // "/gemel.v1.VirtualMachines/Start"
  Permission permission = Permission::kRead;
  std::string resource;  // Create: the parent
  std::string request_id;
};

// Any thread; what it is given outlives it.
class Doorman {
 public:
  Doorman(const Identities* identities, const Authorizer* authorizer, AuditLog* audit)
      : identities_(identities), authorizer_(authorizer), audit_(audit) {}

  // kUnauthenticated or kPermissionDenied, and it is in the audit log. So is whoever passes on a call of
  // somebody else's and is no node of the cluster.
  Result<Caller> Admit(const PeerFacts& facts, const Call& call) const;
  // For List and Watch of call.resource as a parent ("projects/-" and "" mean all): whoever may see
  // something in it comes in, and sees of it what MaySee says.
  Result<Caller> AdmitToList(const PeerFacts& facts, const Call& call) const;
  // For who asks about themselves, or about what is judged piece by piece with May: anybody with a
  // name. kUnauthenticated, and it is in the audit log.
  Result<Caller> Recognise(const PeerFacts& facts, const Call& call) const;
  Status May(const Caller& caller, Permission permission, std::string_view resource) const {
    return authorizer_->Check(caller, permission, resource);
  }
  bool MaySee(const Caller& caller, std::string_view resource) const;
  // For a stream that lives on: whether its caller would still be admitted. Asked before each thing
  // that it is told, so that a revoked certificate or role ends it.
  Status StillAdmitted(const PeerFacts& facts, const Call& call) const;

  // The same of the peer alone: for a stream that asks about each resource with MaySee.
  Status StillKnown(const PeerFacts& facts) const;

  // How a mutating call ended.
  void Record(const Caller& caller, const Call& call, Code outcome,
              std::string_view message = "") const;
  // Calls `done` when all that was recorded is on the disk (AuditLog::WhenDurable): only then is the
  // caller told. A denial is told so, too.
  void WhenRecorded(std::function<void()> done) const { audit_->WhenDurable(std::move(done)); }

 private:
  void RecordDenied(const PeerFacts& facts, const Caller* caller, const Call& call,
                    const Error& error) const;

  const Identities* const identities_;
  const Authorizer* const authorizer_;
  AuditLog* const audit_;
};

}  // namespace gemel::access
