#include "member/care.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/clock.h"
#include "base/file_util.h"
#include "base/log.h"
#include "base/thread.h"
#include "etcd/codec.h"
#include "member/backup.h"
#include "member/etcd_words.h"
#include "member/record.h"

namespace gemel::member {
namespace {

constexpr std::chrono::milliseconds kPause{2000};
// While this member or another is about to get its vote.
constexpr std::chrono::milliseconds kShortPause{400};
// A leader that was just moved away may come back; no ping-pong.
constexpr std::int64_t kMovePauseMs = 10'000;

std::string MemberEndpoint(const etcd::MemberInfo& member) {
  return member.client_urls.empty() ? "" : EndpointOf(member.client_urls[0]);
}

std::string OwnEndpoint(const cluster::ClusterConfig& config) {
  return HostPort(config.member.address, config.member.client_port);
}

bool IsClient(const cluster::ClusterConfig& config) {
  return config.member.initial_state == kClientState;
}

std::string AlarmText(const etcd::AlarmInfo& alarm, const std::vector<MemberView>& members) {
  std::string name = fmt::format("{:x}", alarm.member);
  for (const MemberView& one : members)
    if (one.info.id == alarm.member) name = one.info.name;
  return alarm.no_space ? fmt::format("NOSPACE: etcd of {} is full and takes no writes", name)
                        : fmt::format("CORRUPT: etcd of {} has other data than the others", name);
}

}  // namespace

Care::~Care() {
  {
    const MutexLock lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Status Care::Begin() {
  ASSIGN_OR_RETURN(thread_, StartThread("care", [this] { Serve(); }));
  return {};
}

Health Care::health() {
  const MutexLock lock(mutex_);
  return health_;
}

void Care::Serve() noexcept {
  for (;;) {
    if (auto admin = ConnectToEtcd(config_->Get())) {
      Look(**admin);
    } else {
      const MutexLock lock(mutex_);
      health_.trouble = admin.error().message;
    }
    const MutexLock lock(mutex_);
    const bool joining = std::ranges::any_of(
        health_.members, [](const MemberView& one) { return one.info.learner; });
    if (!stop_) wake_.wait_for(mutex_, health_.voting && !joining ? kPause : kShortPause);
    if (stop_) return;
  }
}

// Of etcd here; of a node that has none, of the first that answers.
Result<etcd::MemberStatus> Care::Own(etcd::Admin& admin, const cluster::ClusterConfig& config) {
  if (!IsClient(config)) return admin.StatusOf(OwnEndpoint(config));
  Result<etcd::MemberStatus> status = MakeError(Code::kUnavailable, "no member of etcd is known");
  for (std::size_t i = 0; i < config.endpoints.size() && !status; ++i)
    status = admin.StatusOf(config.endpoints[i]);
  return status;
}

void Care::Look(etcd::Admin& admin) {
  const cluster::ClusterConfig config = config_->Get();
  Health health;
  const Result<etcd::MemberStatus> own = Own(admin, config);
  if (!own) health.trouble = own.error().message;
  if (own) health.led = own->leader != 0;
  if (own && !health.led) health.trouble = "etcd knows no leader: a majority of members is missing";
  if (own && own->learner && !IsClient(config))
    health.trouble = "no vote yet: it follows what was before it came";
  for (const std::string& error : own ? own->errors : std::vector<std::string>())
    health.trouble = fmt::format("etcd: {}", error);
  const auto members = health.led ? admin.Members() : Result<std::vector<etcd::MemberInfo>>();
  for (const etcd::MemberInfo& member : members ? *members : std::vector<etcd::MemberInfo>()) {
    MemberView view{member, {}, ""};
    auto status = member.name.empty() ? MakeError(Code::kUnavailable, "has not started yet")
                                      : admin.StatusOf(MemberEndpoint(member));
    if (status)
      view.status = *std::move(status);
    else
      view.trouble = status.error().message;
    if (own && member.id == own->id) health.voting = IsClient(config) || !member.learner;
    health.members.push_back(std::move(view));
  }
  if (health.led && !health.members.empty()) {
    if (const Status done = Found(admin, config, *own); !done)
      health.trouble = done.error().message;
    Follow(health.members);
    Promote(admin, health.members);
    MoveLeader(admin, config, health.members);
    if (health.voting) Keep(admin, config, health);
    if (const auto alarms = admin.Alarms())
      for (const etcd::AlarmInfo& alarm : *alarms)
        health.alarms.push_back(AlarmText(alarm, health.members));
  }
  Watch(config, health);
  for (const std::string& alarm : health.alarms) LOG(kError, "member", "{}", alarm);
  const MutexLock lock(mutex_);
  if (health.trouble != health_.trouble && !health.trouble.empty())
    LOG(kWarning, "member", "{}", health.trouble);
  health_ = std::move(health);
}

// A cluster's first member writes what all others rely on, once: an incarnation that is there is never
// touched. From then on etcd's data is what it begins with.
Status Care::Found(etcd::Admin& admin, const cluster::ClusterConfig& config,
                   const etcd::MemberStatus& own) const {
  const std::string& state = config.member.initial_state;
  if (state.empty() || state == kClientState || own.learner) return {};
  if (state == kRestoredState) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadTextFile(RestoreFile(config), kMostBackup));
    ASSIGN_OR_RETURN(const Backup backup, DecodeBackup(bytes));
    RETURN_IF_ERROR(WriteBackup(admin, backup, config.name));
    LOG_UNLIMITED(kWarning, "member", "cluster {} begins anew, incarnation {}", config.cluster,
                  backup.incarnation);
  }
  if (state == "new") {
    const std::string key = etcd::EncodeKey({cluster::KeyKind::kIncarnation, 0});
    etcd::KvTxn txn;
    txn.compares = {{key, 0}};
    txn.puts = {{key, etcd::EncodeIncarnation(1)}};
    RETURN_IF_ERROR(admin.Commit(txn));
    LOG_UNLIMITED(kInfo, "member", "cluster {} begins", config.cluster);
  }
  if (state != "existing") RETURN_IF_ERROR(RecordSelf(admin, config, own));
  cluster::ClusterConfig now = config_->Get();
  now.member.initial_state.clear();
  RETURN_IF_ERROR(config_->Set(now));
  on_config_(now);
  return {};
}

Status Care::RecordSelf(etcd::Admin& admin, const cluster::ClusterConfig& config,
                        const etcd::MemberStatus& own) const {
  Record record;
  record.name = config.name;
  record.node = config.node;
  record.address = config.member.address;
  record.machine = machine_;
  record.version = GEMEL_VERSION;
  record.member_id = own.id;
  record.join_port = config.member.join_port;
  record.level = kFeatureLevel;
  ASSIGN_OR_RETURN(record.serials, OwnSerials(config));
  etcd::KvTxn txn;
  txn.puts = {{RecordKey(config.name), EncodeRecord(record)}};
  RETURN_IF_ERROR(admin.Commit(txn));
  return {};
}

// All that have started, this one first. Nodes that have none begin with different ones.
void Care::Follow(const std::vector<MemberView>& members) {
  cluster::ClusterConfig config = config_->Get();
  const std::string own = IsClient(config) ? "" : OwnEndpoint(config);
  std::vector<std::string> endpoints;
  for (const MemberView& member : members) {
    const std::string endpoint = MemberEndpoint(member.info);
    if (!endpoint.empty() && !member.info.learner && endpoint != own) endpoints.push_back(endpoint);
  }
  if (own.empty() && endpoints.empty()) return;
  std::ranges::sort(endpoints);
  if (own.empty())
    std::ranges::rotate(endpoints, endpoints.begin() + config.node % std::ssize(endpoints));
  else
    endpoints.insert(endpoints.begin(), own);
  if (endpoints == config.endpoints) return;
  config.endpoints = endpoints;
  const Status set = config_->Set(config);
  if (!set) LOG(kError, "member", "{}", set.error().message);
  if (set) LOG_UNLIMITED(kInfo, "member", "etcd's members are now {}", fmt::join(endpoints, ", "));
}

// It refuses as long as the learner is behind; whoever asks first does it.
void Care::Promote(etcd::Admin& admin, const std::vector<MemberView>& members) const {
  for (const MemberView& member : members) {
    if (!member.info.learner || member.info.name.empty()) continue;
    if (admin.Promote(member.info.id))
      LOG_UNLIMITED(kInfo, "member", "{} has a vote now", member.info.name);
  }
}

// A witness is far and small: a leader there makes each write slower. It gives leadership to a member
// that answers and is not behind.
void Care::MoveLeader(etcd::Admin& admin, const cluster::ClusterConfig& config,
                      const std::vector<MemberView>& members) {
  if (config.role != cluster::Role::kWitness) return;
  const std::string own = OwnEndpoint(config);
  const auto self = std::ranges::find_if(
      members, [&](const MemberView& one) { return MemberEndpoint(one.info) == own; });
  if (self == members.end() || self->status.leader != self->info.id) return;
  if (moved_ms_ != 0 && MonotonicMs() - moved_ms_ < kMovePauseMs) return;
  constexpr std::uint64_t kBehind = 100;
  for (const MemberView& member : members) {
    const bool fit = member.trouble.empty() && !member.info.learner && &member != &*self &&
                     member.status.applied + kBehind >= self->status.applied;
    if (!fit) continue;
    moved_ms_ = MonotonicMs();
    const Status moved = admin.MoveLeader(own, member.info.id);
    LOG_UNLIMITED(kInfo, "member", "{} leads instead of this witness{}", member.info.name,
                  moved ? "" : ": no: " + moved.error().message);
    return;
  }
}

// Each write of the cluster waits for the disks of a majority; a heartbeat has 300 ms.
void Care::Watch(const cluster::ClusterConfig& config, Health& health) {
  constexpr std::int64_t kSlowUs = 100'000;
  constexpr std::int64_t kMostPercent = 80;
  if (const auto metrics = ReadEtcdMetrics(MetricsSocket(config)))
    watch_.Add(*metrics, MonotonicMs());
  health.fsync_p99_us = watch_.fsync_p99_us();
  health.commit_p99_us = watch_.commit_p99_us();
  health.leader_changes = watch_.leader_changes();
  if (health.fsync_p99_us > kSlowUs) {
    health.alarms.push_back(
        fmt::format("SLOW DISK: one of a hundred writes of etcd here takes {} ms or more",
                    health.fsync_p99_us / 1000));
  }
  for (const MemberView& member : health.members) {
    const std::int64_t percent = member.status.used_bytes * 100 / kQuotaBytes;
    if (percent >= kMostPercent)
      health.alarms.push_back(fmt::format("ALMOST FULL: etcd of {} uses {} % of what it may",
                                          member.info.name, percent));
  }
}

// What does not work now is tried again by the next look.
void Care::Keep(etcd::Admin& admin, const cluster::ClusterConfig& config, Health& health) {
  std::vector<etcd::MemberInfo> members;
  members.reserve(health.members.size());
  for (const MemberView& one : health.members) members.push_back(one.info);
  const std::int64_t now = ClockNs(CLOCK_REALTIME) / 1'000'000'000;
  Result<Upkeep> kept = KeepRecords(admin, config, members, now);
  if (!kept) {
    health.trouble = kept.error().message;
    return;
  }
  health.upkeep = *std::move(kept);
  if (const Status renewed = renewal_.Look(admin, config, health.upkeep.records, now); !renewed)
    LOG(kError, "member", "certificates: {}", renewed.error().message);
}

}  // namespace gemel::member
