// What every call goes through before anything else: who is it, may they, and the record of it.
#pragma once
#include <grpcpp/support/status.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "grpc/access/doorman.h"
#include "grpc/api_error.h"

namespace grpc {
class ServerContextBase;
}  // namespace grpc

namespace gemel::daemon {

// With google.rpc.Status in the trailer, as clients of all languages read it.
grpc::Status ToGrpc(const ApiError& error);

// The doorman (grpc/access/doorman.h), asked and answering in the API's words. Any thread.
class CallGate {
 public:
  // It outlives this.
  explicit CallGate(const access::Doorman* doorman) : doorman_(doorman) {}

  // kUnauthenticated, kPermissionDenied; a denial is in the audit log by then, and is told with
  // WhenRecorded.
  ApiResult<access::Caller> Admit(const grpc::ServerContextBase& context, std::string_view method,
                                  access::Permission permission, std::string_view resource) const;
  // For what is judged piece by piece with doorman().May, and for who asks about themselves.
  ApiResult<access::Caller> Recognise(const grpc::ServerContextBase& context,
                                      std::string_view method, access::Permission permission,
                                      std::string_view resource) const;
  // For List and Watch of `parent` ("projects/web"; "*").
  ApiResult<access::Caller> AdmitList(const grpc::ServerContextBase& context,
                                      std::string_view method, std::string_view parent) const;
  bool MayRead(const access::Caller& caller, std::string_view resource) const {
    return doorman_->MaySee(caller, resource);
  }
  const access::Doorman& doorman() const { return *doorman_; }

  // The record of a mutating call, before it is answered.
  void Record(const access::Caller& caller, std::string_view method, std::string_view resource,
              std::string_view request_id, const ApiError* error) const;
  // The same of a call that was passed on to another node, which has a record of its own.
  void RecordForwarded(const access::Caller& caller, std::string_view method,
                       std::string_view resource, std::string_view request_id,
                       std::string_view node, const ApiError* error) const;
  // Calls `done` when all records are on the disk: now, or on another thread.
  void WhenRecorded(std::function<void()> done) const { doorman_->WhenRecorded(std::move(done)); }

 private:
  const access::Doorman* const doorman_;
};

// "/gemel.v1.VirtualMachines/Start" of "VirtualMachines/Start".
access::Call DescribeCall(std::string_view method, access::Permission permission,
                          std::string_view resource, std::string_view request_id = "");

}  // namespace gemel::daemon
