#include "grpc/cluster_disks.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "block/iscsi/shared_claim.h"
#include "launch/iscsi_dialer.h"
#include "storage/nexus.h"

namespace gemel::daemon {
namespace {

using cluster::StorageAnswer;
using cluster::StorageCommand;
using Op = StorageCommand::Op;

bool IsClaimed(const DiskConfig& disk) { return disk.iscsi && !disk.readonly; }

// Of a machine that writes to no disk: ours alone.
StorageAnswer OursAlone(const StorageCommand& command) {
  StorageAnswer answer;
  answer.result = StorageAnswer::Result::kGood;
  if (command.op != Op::kRead) return answer;
  answer.keys[0] = command.mine;
  answer.key_count = 1;
  answer.holder = command.mine;
  return answer;
}

bool ShowsOursAlone(const StorageCommand& command, const StorageAnswer& answer) {
  return command.op == Op::kRead && answer.result == StorageAnswer::Result::kGood &&
         answer.key_count == 1 && answer.keys[0] == command.mine && answer.holder == command.mine;
}

}  // namespace

void SetIdentity(const ClusterIdentity& identity, ClusterVm vm, cluster::FenceGrant& grant) {
  if (identity.initiator.empty()) return;
  const cluster::StorageKey owner{identity.node, grant.epoch};
  grant.initiator = storage::NexusStem(identity.initiator, owner, vm);
  grant.key = cluster::EncodeStorageKey(owner);
}

void IscsiClusterDisks::Execute(ClusterVm vm, const StorageCommand& command, Done done) {
  const auto found = claims_.find(vm);
  const bool fits =
      found != claims_.end() && found->second->mine == command.mine && !found->second->waits;
  if (!fits) {
    Drop(vm);
    auto begun = Begin(vm, command.mine);
    if (!begun) {
      known_[vm].trouble = begun.error().message;
      LOG(kError, "cluster", "machine {}: its disks: {}", vm, begun.error().message);
      return AnswerLater(vm, done);
    }
    if ((*begun)->sessions.empty()) return Answer(OursAlone(command), std::move(done));
    claims_[vm] = std::move(*begun);
  }
  Claim& claim = *claims_.at(vm);
  claim.waits = std::move(done);
  claim.driver->Execute(command,
                        [this, vm, command](const StorageAnswer& answer, const std::string& note) {
                          OnAnswer(vm, command, answer, note);
                        });
}

Result<std::unique_ptr<IscsiClusterDisks::Claim>> IscsiClusterDisks::Begin(
    ClusterVm vm, const cluster::StorageKey& mine) {
  ASSIGN_OR_RETURN(const std::vector<DiskConfig> disks, outside_.disks(vm));
  auto claim = std::make_unique<Claim>();
  claim->mine = mine;
  for (std::size_t i = 0; i < disks.size(); ++i) {
    if (IsClaimed(disks[i])) RETURN_IF_ERROR(AddDisk(*claim, vm, i, *disks[i].iscsi));
  }
  std::vector<storage::ReservationPort*> ports;
  for (const auto& session : claim->sessions) ports.push_back(session.get());
  claim->driver = std::make_unique<storage::ClaimDriver>(std::move(ports));
  return claim;
}

Status IscsiClusterDisks::AddDisk(Claim& claim, ClusterVm vm, std::size_t index,
                                  IscsiConfig iscsi) const {
  RETURN_IF_ERROR(launch::FillSecret(iscsi));
  ASSIGN_OR_RETURN(launch::IscsiDialer dialer, launch::StartIscsiDialer(iscsi.host, iscsi.port));
  const std::string stem = storage::NexusStem(outside_.initiator, claim.mine, vm);
  ASSIGN_OR_RETURN(auto session, storage::ClaimSession::Begin(
                                     outside_.loop, std::move(dialer.vm_end),
                                     {iscsi.target, iscsi.lun, iscsi.user, iscsi.password},
                                     block::NexusOfDisk(stem, index)));
  claim.dialers.push_back(std::move(dialer.process));
  claim.sessions.push_back(std::move(session));
  return {};
}

void IscsiClusterDisks::OnAnswer(ClusterVm vm, const StorageCommand& command,
                                 const StorageAnswer& answer, const std::string& note) {
  Claim& claim = *claims_.at(vm);
  Known& known = known_[vm];
  if (!note.empty() && note != known.trouble)
    LOG(kWarning, "cluster", "machine {}: its disks: {}", vm, note);
  known.trouble = note;
  const bool held = ShowsOursAlone(command, answer);
  if (held) {
    known.claimed = true;
    known.strength = block::FenceStrength::kFull;
    for (const auto& session : claim.sessions)
      known.strength = std::min(known.strength, session->strength());
  }
  // Once it is held, the machine's process follows as the same nexus.
  EndLater(vm, held ? 0 : kIdleMs);
  std::exchange(claim.waits, nullptr)(answer);
}

// Not within what its sessions have called.
void IscsiClusterDisks::EndLater(ClusterVm vm, std::int64_t after_ms) {
  const auto end = [this, vm, claim = claims_.at(vm).get(), alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    const auto found = claims_.find(vm);
    if (found != claims_.end() && found->second.get() == claim && !claim->waits) claims_.erase(vm);
  };
  const auto post = [loop = outside_.loop, end] { loop->Post(end); };
  if (after_ms == 0) return post();
  static_cast<void>(claims_.at(vm)->idle.Start(outside_.loop, after_ms, post));
}

// Whoever waits for it is told that nothing is known.
void IscsiClusterDisks::Drop(ClusterVm vm) {
  const auto found = claims_.find(vm);
  if (found == claims_.end()) return;
  Done waits = std::move(found->second->waits);
  claims_.erase(found);
  if (waits) Answer({}, std::move(waits));
}

void IscsiClusterDisks::Answer(const StorageAnswer& answer, Done done) const {
  outside_.loop->Post([done = std::move(done), answer, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) done(answer);
  });
}

// That nothing is known. Whoever hears of it asks again at once.
void IscsiClusterDisks::AnswerLater(ClusterVm vm, const Done& done) {
  if (!troubles_[vm].Start(outside_.loop, kRetryMs, [done] { done({}); })) Answer({}, done);
}

IscsiClusterDisks::Known IscsiClusterDisks::known(ClusterVm vm) const {
  const auto found = known_.find(vm);
  return found == known_.end() ? Known{} : found->second;
}

}  // namespace gemel::daemon
