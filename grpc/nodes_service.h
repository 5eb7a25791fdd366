// gemel.v1.Nodes: this host. gRPC's threads.
#pragma once
#include "grpc/service_call.h"
#include "proto/gemel/v1/nodes.grpc.pb.h"

namespace gemel::daemon {

class NodesService final : public v1::Nodes::CallbackService {
 public:
  struct Facts {
    std::string node;
    std::string version;
    std::uint64_t memory_capacity = 0;
    std::uint32_t cpu_capacity_millis = 0;
  };
  NodesService(ServiceContext* services, Facts facts);

  // Any thread.
  v1::Node Describe() const;

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context,
                                const v1::GetNodeRequest* request, v1::Node* response) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const v1::ListNodesRequest* request,
                                 v1::ListNodesResponse* response) override;

 private:
  ServiceContext* const services_;
  const Facts facts_;
  v1::Node fixed_;  // what does not change while the daemon runs
};

}  // namespace gemel::daemon
