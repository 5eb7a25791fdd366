// gemel.v1.Clusters: the cluster as this node sees it. gRPC's threads; the member is asked on its loop.
#pragma once
#include "grpc/cluster_member.h"
#include "grpc/service_call.h"
#include "proto/gemel/v1/clusters.grpc.pb.h"

namespace gemel::daemon {

class ClustersService final : public v1::Clusters::CallbackService {
 public:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  // `member`: none if this node is in no cluster. `cluster` and `node`: names.
  ClustersService(ServiceContext* services, ClusterMember* member, std::string cluster,
                  std::string node)
      : services_(services),
        member_(member),
        cluster_(std::move(cluster)),
        node_(std::move(node)) {}

  Reactor* GetStatus(Context* context, const v1::GetStatusRequest* request,
                     v1::ClusterStatus* response) override;
  Reactor* Explain(Context* context, const v1::ExplainRequest* request,
                   v1::Explanation* response) override;
  Reactor* DrainNode(Context* context, const v1::DrainNodeRequest* request,
                     v1::ClusterNode* response) override;
  Reactor* UndrainNode(Context* context, const v1::UndrainNodeRequest* request,
                       v1::ClusterNode* response) override;
  Reactor* ConfirmNodeDead(Context* context, const v1::ConfirmNodeDeadRequest* request,
                           v1::ClusterNode* response) override;
  Reactor* TestFence(Context* context, const v1::TestFenceRequest* request,
                     v1::FenceTest* response) override;

 private:
  // Asks the member for a change of a node's, as somebody who may and whose call is on record.
  template <class Ask>
  Reactor* ChangeNode(Context* context, std::string_view method, const std::string& name,
                      const std::string& request_id, v1::ClusterNode* response, Ask ask);
  ApiResult<access::Caller> Admit(Context* context, std::string_view method,
                                  access::Permission permission, const std::string& resource);
  Reactor* SetDrained(Context* context, std::string_view method, const std::string& name,
                      const std::string& request_id, bool drained, v1::ClusterNode* response);

  ServiceContext* const services_;
  ClusterMember* const member_;
  const std::string cluster_;
  const std::string node_;
};

}  // namespace gemel::daemon
