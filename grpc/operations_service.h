// gemel.v1.Operations over the manager. gRPC's threads.
#pragma once
#include "grpc/service_call.h"
#include "proto/gemel/v1/operations.grpc.pb.h"

namespace gemel::daemon {

class OperationsService final : public v1::Operations::CallbackService {
 public:
  explicit OperationsService(ServiceContext* services) : services_(services) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* Get(Context* context, const v1::GetOperationRequest* request,
               v1::Operation* response) override;
  Reactor* List(Context* context, const v1::ListOperationsRequest* request,
                v1::ListOperationsResponse* response) override;
  Reactor* Cancel(Context* context, const v1::CancelOperationRequest* request,
                  v1::Operation* response) override;
  Reactor* Wait(Context* context, const v1::WaitOperationRequest* request,
                v1::Operation* response) override;

 private:
  template <class Request>
  Reactor* AskOthers(Context* context, std::string_view method, access::Permission permission,
                     const Request& request, v1::Operation* response);
  // The operation, if the caller may do this to it or to what it works on.
  ApiResult<v1::Operation> Find(Context* context, std::string_view method,
                                access::Permission permission, const std::string& name,
                                access::Caller* caller) const;
  ServiceContext* const services_;
};

}  // namespace gemel::daemon
