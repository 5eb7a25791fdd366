#include "grpc/call_gate.h"

#include "grpc/access/server_tls.h"

namespace gemel::daemon {

grpc::Status ToGrpc(const ApiError& error) {
  return {static_cast<grpc::StatusCode>(error.code()), error.message(), error.SerializeAsString()};
}

access::Call DescribeCall(std::string_view method, access::Permission permission,
                          std::string_view resource, std::string_view request_id) {
  return {"/gemel.v1." + std::string(method), permission, Printable(resource),
          Printable(request_id)};
}

ApiResult<access::Caller> CallGate::Admit(const grpc::ServerContextBase& context,
                                          std::string_view method, access::Permission permission,
                                          std::string_view resource) const {
  auto caller =
      doorman_->Admit(access::FactsOf(context), DescribeCall(method, permission, resource));
  if (caller) return std::move(*caller);
  return std::unexpected(FromError(caller.error(), access::CodeName(caller.error().code)));
}

ApiResult<access::Caller> CallGate::Recognise(const grpc::ServerContextBase& context,
                                              std::string_view method,
                                              access::Permission permission,
                                              std::string_view resource) const {
  auto caller =
      doorman_->Recognise(access::FactsOf(context), DescribeCall(method, permission, resource));
  if (caller) return std::move(*caller);
  return std::unexpected(FromError(caller.error(), access::CodeName(caller.error().code)));
}

ApiResult<access::Caller> CallGate::AdmitList(const grpc::ServerContextBase& context,
                                              std::string_view method,
                                              std::string_view parent) const {
  auto caller = doorman_->AdmitToList(access::FactsOf(context),
                                      DescribeCall(method, access::Permission::kRead, parent));
  if (caller) return std::move(*caller);
  return std::unexpected(FromError(caller.error(), access::CodeName(caller.error().code)));
}

void CallGate::Record(const access::Caller& caller, std::string_view method,
                      std::string_view resource, std::string_view request_id,
                      const ApiError* error) const {
  doorman_->Record(caller, DescribeCall(method, access::Permission::kChange, resource, request_id),
                   error == nullptr ? Code::kOk : static_cast<Code>(error->code()),
                   error == nullptr ? "" : error->message());
}

void CallGate::RecordForwarded(const access::Caller& caller, std::string_view method,
                               std::string_view resource, std::string_view request_id,
                               std::string_view node, const ApiError* error) const {
  doorman_->Record(caller, DescribeCall(method, access::Permission::kChange, resource, request_id),
                   error == nullptr ? Code::kOk : static_cast<Code>(error->code()),
                   fmt::format("passed on to nodes/{}{}{}", node, error == nullptr ? "" : ": ",
                               error == nullptr ? "" : error->message()));
}

}  // namespace gemel::daemon
