#include "grpc/clusters_service.h"

namespace gemel::daemon {

using access::Permission;

ApiResult<access::Caller> ClustersService::Admit(Context* context, std::string_view method,
                                                 Permission permission,
                                                 const std::string& resource) {
  auto caller =
      services_->gate->Admit(*context, fmt::format("Clusters/{}", method), permission, resource);
  if (!caller || member_ != nullptr) return caller;
  return std::unexpected(WrongState(
      "cluster", fmt::format("node {} is in no cluster: gemel cluster init", node_), "NO_CLUSTER"));
}

ClustersService::Reactor* ClustersService::GetStatus(Context* context,
                                                     const v1::GetStatusRequest* /*request*/,
                                                     v1::ClusterStatus* response) {
  auto caller = Admit(context, "GetStatus", Permission::kRead, "nodes/" + node_);
  if (!caller)
    return Answer<v1::ClusterStatus>(services_, context, std::unexpected(caller.error()), response);
  auto* reactor = context->DefaultReactor();
  services_->loop->Post([this, reactor, response] {
    member_->FillStatus(*response);
    response->set_cluster(cluster_);
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

ClustersService::Reactor* ClustersService::Explain(Context* context,
                                                   const v1::ExplainRequest* request,
                                                   v1::Explanation* response) {
  const auto admitted = [&]() -> ApiResult<access::Caller> {
    if (auto name = ParseResourceName("name", "vms", request->name()); !name)
      return std::unexpected(std::move(name).error());
    return Admit(context, "Explain", Permission::kRead, request->name());
  }();
  if (!admitted)
    return Answer<v1::Explanation>(services_, context, std::unexpected(admitted.error()), response);
  auto* reactor = context->DefaultReactor();
  services_->loop->Post([this, reactor, response, name = request->name()] {
    if (member_->Explain(name, *response)) return reactor->Finish(grpc::Status::OK);
    const bool known = services_->published->vms.Get(name) != nullptr;
    reactor->Finish(ToGrpc(known ? WrongState(name, name + " is one node's, not the cluster's")
                                 : ResourceNotFound("vm", name)));
  });
  return reactor;
}

ClustersService::Reactor* ClustersService::DrainNode(Context* context,
                                                     const v1::DrainNodeRequest* request,
                                                     v1::ClusterNode* response) {
  return SetDrained(context, "DrainNode", request->name(), request->request_id(), true, response);
}

ClustersService::Reactor* ClustersService::UndrainNode(Context* context,
                                                       const v1::UndrainNodeRequest* request,
                                                       v1::ClusterNode* response) {
  return SetDrained(context, "UndrainNode", request->name(), request->request_id(), false,
                    response);
}

template <class Ask>
ClustersService::Reactor* ClustersService::ChangeNode(Context* context, std::string_view method,
                                                      const std::string& name,
                                                      const std::string& request_id,
                                                      v1::ClusterNode* response, Ask ask) {
  auto caller = Admit(context, method, Permission::kChange, name);
  const std::string full = fmt::format("Clusters/{}", method);
  if (!caller)
    return AnswerRecorded<v1::ClusterNode>(services_, context, std::unexpected(caller.error()),
                                           response);
  if (auto good = CheckRequestId(request_id); !good) {
    services_->gate->Record(*caller, full, name, request_id, &good.error());
    return AnswerRecorded<v1::ClusterNode>(services_, context, std::unexpected(good.error()),
                                           response);
  }
  auto* reactor = context->DefaultReactor();
  services_->loop->Post([=, this, caller = std::move(*caller)] {
    ask(caller, [=, this](const ApiResult<v1::ClusterNode>& result) {
      services_->gate->Record(caller, full, name, request_id, result ? nullptr : &result.error());
      FinishRecorded(services_, reactor, result, response);
    });
  });
  return reactor;
}

// Twice the same is well.
ClustersService::Reactor* ClustersService::SetDrained(Context* context, std::string_view method,
                                                      const std::string& name,
                                                      const std::string& request_id, bool drained,
                                                      v1::ClusterNode* response) {
  return ChangeNode(context, method, name, request_id, response,
                    [this, name, drained](const access::Caller& /*caller*/,
                                          const ClusterMember::DrainReply& reply) {
                      member_->SetDrained(name, drained, reply);
                    });
}

ClustersService::Reactor* ClustersService::ConfirmNodeDead(
    Context* context, const v1::ConfirmNodeDeadRequest* request, v1::ClusterNode* response) {
  const ClusterMember::DeadNode word{request->name(), request->session(), request->reason(), ""};
  return ChangeNode(
      context, "ConfirmNodeDead", request->name(), request->request_id(), response,
      [this, word](const access::Caller& caller, const ClusterMember::DrainReply& reply) {
        member_->ConfirmDead({word.name, word.session, word.reason, caller.name}, reply);
      });
}

// It is told of a machine outside, so it is for those who may change the node, and on record.
ClustersService::Reactor* ClustersService::TestFence(Context* context,
                                                     const v1::TestFenceRequest* request,
                                                     v1::FenceTest* response) {
  auto caller = Admit(context, "TestFence", Permission::kChange, request->name());
  if (!caller)
    return AnswerRecorded<v1::FenceTest>(services_, context, std::unexpected(caller.error()),
                                         response);
  auto* reactor = context->DefaultReactor();
  services_->loop->Post(
      [this, reactor, response, name = request->name(), caller = std::move(*caller)] {
        member_->TestFence(name, [=, this](const ApiResult<v1::FenceTest>& result) {
          services_->gate->Record(caller, "Clusters/TestFence", name, "",
                                  result ? nullptr : &result.error());
          FinishRecorded(services_, reactor, result, response);
        });
      });
  return reactor;
}

}  // namespace gemel::daemon
