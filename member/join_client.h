// The joining side of the join port: TLS 1.3 to the one server whose certificate the token names.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cluster/config/cluster_config.h"
#include "member/clock_check.h"
#include "member/credentials.h"
#include "member/token.h"
#include "proto/member/member.pb.h"

namespace gemel::member {

// Blocking calls, each with a deadline; one thread.
class JoinClient {
 public:
  virtual ~JoinClient() = default;
  // `count` of them, spread over a second or so.
  virtual Result<std::vector<ClockSample>> Measure(int count) = 0;
  virtual Result<internal::member::JoinResponse> Join(internal::member::JoinRequest request) = 0;
  virtual Status Abandon() = 0;
};

// New certificates for this member, which shows the one it has, from the node whose join port is there.
Result<Credentials> AskRenew(const cluster::ClusterConfig& config, const std::string& at);

Result<std::unique_ptr<JoinClient>> ConnectToJoin(const Token& token);

// gemel-member on this machine, by its socket.
Result<internal::member::GetStatusResponse> AskStatus(const std::string& run_dir);
Result<internal::member::InviteResponse> AskInvite(const std::string& run_dir, cluster::Role role,
                                                   std::int64_t ttl_seconds);
Status AskRemove(const std::string& run_dir, const std::string& name, bool force);

}  // namespace gemel::member
