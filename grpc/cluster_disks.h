// A machine's disks on iSCSI targets, claimed for an epoch before its process is started: sessions of
// the daemon's own, as the nexus that the process will be (docs/decisions/009). One loop's thread.
//
// What of a machine is not on a target, or is only read, is not claimed: a machine without a disk that it
// writes to is anybody's to start, as far as storage goes. That others are not failed over is its
// owner's to refuse.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/timer.h"
#include "block/iscsi/reservation.h"
#include "cluster/page/fence_grant.h"
#include "grpc/cluster_manager.h"
#include "launch/child_process.h"
#include "storage/claim_driver.h"
#include "storage/claim_session.h"
#include "vmm/config/machine_config.h"

namespace gemel::daemon {

// What this node's machines are to targets, in an epoch: for FencedMachines.
struct ClusterIdentity {
  cluster::NodeId node = 0;
  std::string initiator;  // storage/nexus.h: `base`
};
void SetIdentity(const ClusterIdentity& identity, ClusterVm vm, cluster::FenceGrant& grant);

class IscsiClusterDisks final : public ClusterDisks {
 public:
  struct Outside {
    EventLoop* loop = nullptr;
    std::string initiator;  // as ClusterIdentity's
    // All disks of a machine, in their order; secrets may be in files.
    std::function<Result<std::vector<DiskConfig>>(ClusterVm vm)> disks;
  };
  // Without a command for so long its sessions end.
  static constexpr std::int64_t kIdleMs = 5'000;
  static constexpr std::int64_t kRetryMs = 500;  // between two tries that cannot even begin

  // What `outside` names outlives it.
  explicit IscsiClusterDisks(Outside outside) : outside_(std::move(outside)) {}

  void Execute(ClusterVm vm, const cluster::StorageCommand& command, Done done) override;

  // The weakest of its targets, as it was when it was claimed last; why its last answer was unknown.
  // For people.
  struct Known {
    block::FenceStrength strength = block::FenceStrength::kNone;
    bool claimed = false;  // false: nothing of it has to be, or it has not been yet
    std::string trouble;
  };
  Known known(ClusterVm vm) const;

 private:
  struct Claim {
    cluster::StorageKey mine;
    std::vector<launch::ChildProcess> dialers;
    std::vector<std::unique_ptr<storage::ClaimSession>> sessions;
    std::unique_ptr<storage::ClaimDriver> driver;
    Done waits;  // for the answer to the command that is under way
    Timer idle;
  };

  Result<std::unique_ptr<Claim>> Begin(ClusterVm vm, const cluster::StorageKey& mine);
  Status AddDisk(Claim& claim, ClusterVm vm, std::size_t index, IscsiConfig iscsi) const;
  void OnAnswer(ClusterVm vm, const cluster::StorageCommand& command,
                const cluster::StorageAnswer& answer, const std::string& note);
  void EndLater(ClusterVm vm, std::int64_t after_ms);
  void Drop(ClusterVm vm);
  void Answer(const cluster::StorageAnswer& answer, Done done) const;
  void AnswerLater(ClusterVm vm, const Done& done);

  const Outside outside_;
  std::map<ClusterVm, std::unique_ptr<Claim>> claims_;
  std::map<ClusterVm, Known> known_;
  std::map<ClusterVm, Timer> troubles_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gemel::daemon
