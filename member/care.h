// What gemel-member looks after, every two seconds: that the cluster has its first records, that who
// joined gets a vote, that the witness does not lead, that this machine's file names all members and its
// certificates do not end. A thread of its own, which may wait for etcd.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "etcd/grpc_admin.h"
#include "member/etcd_metrics.h"
#include "member/renewal.h"
#include "member/shared_config.h"
#include "member/upkeep.h"

namespace gemel::member {

struct MemberView {
  etcd::MemberInfo info;
  etcd::MemberStatus status;  // if it answered
  std::string trouble;        // else why not
};

struct Health {
  bool voting = false;  // this member; or it needs no vote
  bool led = false;     // it knows a leader
  std::string trouble;  // what is wrong here; empty: nothing
  std::vector<MemberView> members;
  std::vector<std::string> alarms;
  Upkeep upkeep;
  std::int64_t fsync_p99_us = 0;  // of etcd here, in the last minute; 0: not known
  std::int64_t commit_p99_us = 0;
  std::uint64_t leader_changes = 0;
};

class Care {
 public:
  using OnConfig = std::function<void(const cluster::ClusterConfig&)>;
  // `config` outlives it. `machine` is for this member's own record; `on_config` is told what has
  // become of the configuration, by the thread that looks. `ask`: for a witness's certificates.
  Care(SharedConfig* config, std::string machine, OnConfig on_config, Renewal::Ask ask)
      : config_(config),
        machine_(std::move(machine)),
        on_config_(std::move(on_config)),
        renewal_(std::move(ask)) {}
  ~Care();

  Status Begin();
  // As of the last look.
  Health health() EXCLUDES(mutex_);
  // One look, by whoever asks for it. For the thread, and tests.
  void Look(etcd::Admin& admin) EXCLUDES(mutex_);

 private:
  void Serve() noexcept;
  static Result<etcd::MemberStatus> Own(etcd::Admin& admin, const cluster::ClusterConfig& config);
  Status Found(etcd::Admin& admin, const cluster::ClusterConfig& config,
               const etcd::MemberStatus& own) const;
  Status RecordSelf(etcd::Admin& admin, const cluster::ClusterConfig& config,
                    const etcd::MemberStatus& own) const;
  void Follow(const std::vector<MemberView>& members);
  void Promote(etcd::Admin& admin, const std::vector<MemberView>& members) const;
  void MoveLeader(etcd::Admin& admin, const cluster::ClusterConfig& config,
                  const std::vector<MemberView>& members);
  void Watch(const cluster::ClusterConfig& config, Health& health);
  void Keep(etcd::Admin& admin, const cluster::ClusterConfig& config, Health& health);

  SharedConfig* const config_;
  const std::string machine_;
  const OnConfig on_config_;
  Mutex mutex_;
  std::condition_variable_any wake_;
  bool stop_ GUARDED_BY(mutex_) = false;
  Health health_ GUARDED_BY(mutex_);
  std::int64_t moved_ms_ = 0;
  Renewal renewal_;
  EtcdWatch watch_;
  std::thread thread_;
};

}  // namespace gemel::member
