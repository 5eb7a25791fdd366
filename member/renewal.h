// This machine's certificates, made anew before they end: a node signs its own, a witness asks a node. A
// file is replaced whole; etcd, the join port, keeper and gemeld read it anew.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cluster/config/cluster_config.h"
#include "etcd/grpc_admin.h"
#include "member/credentials.h"
#include "member/record.h"

namespace gemel::member {

class Renewal {
 public:
  // New ones from the node whose join port is there.
  using Ask = std::function<Result<Credentials>(const cluster::ClusterConfig& config,
                                                const std::string& at)>;
  explicit Renewal(Ask ask) : ask_(std::move(ask)) {}

  // Now and then, with the members' records; does something when it is time. `now`: seconds since 1970.
  Status Look(etcd::Admin& admin, const cluster::ClusterConfig& config,
              const std::vector<Record>& records, std::int64_t now);

 private:
  Result<Credentials> Make(etcd::Admin& admin, const cluster::ClusterConfig& config,
                           const std::vector<Record>& records, std::int64_t now) const;
  Result<Credentials> AskNodes(const cluster::ClusterConfig& config,
                               const std::vector<Record>& records) const;

  const Ask ask_;
  std::int64_t looked_ = 0;
};

}  // namespace gemel::member
