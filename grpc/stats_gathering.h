// One ListStats: what this node has sampled of its machines, and what other nodes of the cluster say of
// theirs, in the order in which they were asked for.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "grpc/service_call.h"
#include "proto/gemel/v1/virtual_machines.pb.h"

namespace gemel::daemon {

// Begun on a thread of gRPC's, all else is on the manager loop. Keeps itself until it has answered.
class StatsGathering : public std::enable_shared_from_this<StatsGathering> {
 public:
  using Response = v1::ListVirtualMachineStatsResponse;

  // `response` may have its page token already; it and `reactor` outlive the answer.
  StatsGathering(ServiceContext* services, std::vector<std::string> names,
                 grpc::ServerUnaryReactor* reactor, Response* response)
      : services_(services), names_(std::move(names)), reactor_(reactor), response_(response) {}

  void Begin(const grpc::CallbackServerContext& context, const access::Caller& caller,
             const std::string& parent);

 private:
  using Names = std::set<std::string, std::less<>>;

  void AskNode(const std::string& node, Names names, const grpc::CallbackServerContext& context,
               const access::Caller& caller, const std::string& parent);
  void NoteUnreachable(const std::string& node, const ApiError& error);
  void Take(const Names& names, const Response& answer);
  void AskSampler();
  // The last of them answers the call.
  void OnAnswer();

  ServiceContext* const services_;
  const std::vector<std::string> names_;
  grpc::ServerUnaryReactor* const reactor_;
  Response* const response_;
  std::map<std::string, v1::VirtualMachineStats, std::less<>> found_;
  std::set<std::string> unreachable_;
  std::size_t due_ = 1;  // answers: the sampler's, and that of each node asked
};

}  // namespace gemel::daemon
