// gemel.v1.Networks over the manager. gRPC's threads.
#pragma once
#include "grpc/service_call.h"
#include "proto/gemel/v1/networks.grpc.pb.h"

namespace gemel::daemon {

class NetworksService final : public v1::Networks::CallbackService {
 public:
  // It outlives this.
  explicit NetworksService(ServiceContext* services) : services_(services) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* Create(Context* context, const v1::CreateNetworkRequest* request,
                  v1::Operation* response) override;
  Reactor* Get(Context* context, const v1::GetNetworkRequest* request,
               v1::Network* response) override;
  Reactor* List(Context* context, const v1::ListNetworksRequest* request,
                v1::ListNetworksResponse* response) override;
  Reactor* Update(Context* context, const v1::UpdateNetworkRequest* request,
                  v1::Operation* response) override;
  Reactor* Delete(Context* context, const v1::DeleteNetworkRequest* request,
                  v1::Operation* response) override;
  Reactor* ListLeases(Context* context, const v1::ListLeasesRequest* request,
                      v1::ListLeasesResponse* response) override;

 private:
  // As it is published, with the machines that use it now.
  v1::Network Shown(const v1::Network& network) const;

  ServiceContext* const services_;
};

}  // namespace gemel::daemon
