// gemel.v1.Access: who may do what, and how much of it. gRPC's threads.
//
// A binding is named by what it says (bindings/<hash>), so making the same one twice is
// ALREADY_EXISTS, whatever its request_id.
#pragma once
#include "grpc/access/authorizer.h"
#include "grpc/service_call.h"
#include "proto/gemel/v1/access.grpc.pb.h"

namespace gemel::daemon {

class AccessService final : public v1::Access::CallbackService {
 public:
  // Both outlive it.
  AccessService(const ServiceContext* services, access::PolicyStore* policy)
      : services_(services), policy_(policy) {}

  grpc::ServerUnaryReactor* WhoAmI(grpc::CallbackServerContext* context,
                                   const v1::WhoAmIRequest* request,
                                   v1::WhoAmIResponse* response) override;
  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const v1::CheckAccessRequest* request,
                                  v1::CheckAccessResponse* response) override;
  grpc::ServerUnaryReactor* CreateBinding(grpc::CallbackServerContext* context,
                                          const v1::CreateBindingRequest* request,
                                          v1::Binding* response) override;
  grpc::ServerUnaryReactor* GetBinding(grpc::CallbackServerContext* context,
                                       const v1::GetBindingRequest* request,
                                       v1::Binding* response) override;
  grpc::ServerUnaryReactor* ListBindings(grpc::CallbackServerContext* context,
                                         const v1::ListBindingsRequest* request,
                                         v1::ListBindingsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteBinding(grpc::CallbackServerContext* context,
                                          const v1::DeleteBindingRequest* request,
                                          v1::DeleteBindingResponse* response) override;
  grpc::ServerUnaryReactor* GetQuota(grpc::CallbackServerContext* context,
                                     const v1::GetQuotaRequest* request,
                                     v1::Quota* response) override;
  grpc::ServerUnaryReactor* UpdateQuota(grpc::CallbackServerContext* context,
                                        const v1::UpdateQuotaRequest* request,
                                        v1::Quota* response) override;

 private:
  ApiResult<v1::Binding> Create(const v1::CreateBindingRequest& request);
  ApiResult<v1::Binding> Find(const access::Caller& caller, const std::string& name) const;
  ApiResult<v1::DeleteBindingResponse> Delete(const access::Caller& caller,
                                              const v1::DeleteBindingRequest& request);
  ApiResult<v1::Quota> Update(const v1::UpdateQuotaRequest& request);
  v1::Quota DescribeQuota(const std::string& project) const;

  const ServiceContext* const services_;
  access::PolicyStore* const policy_;
};

}  // namespace gemel::daemon
