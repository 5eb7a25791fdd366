#include "member/admission.h"

#include <poll.h>

#include <algorithm>

#include "base/file_util.h"
#include "base/log.h"
#include "etcd/codec.h"
#include "etcd/override.h"
#include "etcd/spec_codec.h"
#include "member/credentials.h"
#include "member/etcd_words.h"
#include "member/token.h"
#include "member/votes.h"
#include "pki/certificate.h"
#include "pki/secret.h"
#include "proto/member/member.pb.h"

namespace gemel::member {
namespace {

namespace wire = internal::member;

constexpr std::uint32_t kProtocol = 1;
constexpr std::size_t kSecretBytes = 16;
constexpr std::int64_t kLongestTtl = 7 * kDay;
constexpr std::string_view kGeneration = "/gemel/cluster/generation";

Status CheckRequest(const wire::JoinRequest& request) {
  if (request.protocol() != kProtocol) {
    return FailedPrecondition(
        "versions too far apart: Gemel {} there, {} here: upgrade the older one", request.version(),
        GEMEL_VERSION);
  }
  RETURN_IF_ERROR(CheckVersions(request.version(), GEMEL_VERSION));
  RETURN_IF_ERROR(cluster::CheckName("name", request.name()));
  if (request.role() != wire::ROLE_NODE && request.role() != wire::ROLE_WITNESS)
    return InvalidArgument("role: missing");
  for (const std::uint32_t port : {request.client_port(), request.peer_port()})
    if (port == 0 || port > 65535 || request.join_port() > 65535)
      return InvalidArgument("port: {}: not a port", port);
  return {};
}

Record WantedOf(const wire::JoinRequest& request) {
  Record record;
  record.name = request.name();
  record.role = request.role() == wire::ROLE_NODE ? cluster::Role::kNode : cluster::Role::kWitness;
  record.address = request.address();
  record.machine = request.machine();
  record.version = request.version();
  record.level = request.level();
  if (record.role == cluster::Role::kNode)
    record.join_port = static_cast<std::uint16_t>(request.join_port());
  return record;
}

const etcd::MemberInfo* Find(const std::vector<etcd::MemberInfo>& members,
                             const std::function<bool(const etcd::MemberInfo&)>& is) {
  const auto found = std::ranges::find_if(members, is);
  return found == members.end() ? nullptr : &*found;
}

// Two machines of one name would be one's when the other is taken over.
Status CheckNames(etcd::Admin& admin, const wire::JoinRequest& request) {
  constexpr std::size_t kMostShown = 5;
  const std::string first = etcd::NameKey("");
  std::string end = first;
  ++end.back();
  ASSIGN_OR_RETURN(const etcd::KvSnapshot names, admin.Read({first, end}));
  std::vector<std::string> both;
  for (const std::string& vm : request.vms()) {
    const std::string key = etcd::NameKey(vm);
    if (std::ranges::find(names.keys, key, &etcd::KeyValue::key) != names.keys.end())
      both.push_back(vm);
  }
  if (both.empty()) return {};
  const std::size_t more = both.size() - std::min(both.size(), kMostShown);
  both.resize(both.size() - more);
  return MakeError(
      Code::kAlreadyExists,
      fmt::format("{}{}: this machine has VMs of the same names as the cluster: delete "
                  "them on one side, or make them anew under other names",
                  fmt::join(both, ", "), more == 0 ? "" : fmt::format(" and {} more", more)));
}

Status CheckLevel(const Record& wanted, const etcd::KvSnapshot& level) {
  const auto ours =
      level.keys.empty() ? 0 : static_cast<std::uint32_t>(NumberOf(level.keys[0].value));
  if (wanted.level >= ours) return {};
  return FailedPrecondition(
      "the cluster's records are of feature level {}, and Gemel {} there understands {}: upgrade "
      "it "
      "first",
      ours, wanted.version, wanted.level);
}

// Certificates of whoever had that name before count no longer.
void Inherit(Record& record, const std::vector<Record>& records) {
  const auto before = std::ranges::find(records, record.name, &Record::name);
  if (before == records.end()) return;
  record.revoked = before->revoked;
  record.revoked.insert(record.revoked.end(), before->serials.begin(), before->serials.end());
}

Status CheckNobodyJoins(const std::vector<etcd::MemberInfo>& members) {
  const auto* const joining =
      Find(members, [](const etcd::MemberInfo& one) { return one.learner; });
  if (joining == nullptr) return {};
  return MakeError(Code::kAborted,
                   fmt::format("{} is joining at this moment: try again when it has a vote",
                               joining->name.empty() ? "another member" : joining->name));
}

// Whether the session of a node without etcd goes on: two looks at its heartbeat.
bool IsBeating(etcd::Admin& admin, cluster::NodeId node) {
  constexpr int kLongerThanABeatMs = 1'200;
  const etcd::KeyRange beat = RangeOfKey(etcd::EncodeKey({cluster::KeyKind::kBeat, node}));
  const auto before = admin.Read(beat);
  if (!before || before->keys.empty()) return false;
  poll(nullptr, 0, kLongerThanABeatMs);
  const auto after = admin.Read(beat);
  return after && !after->keys.empty() && after->keys[0].changed != before->keys[0].changed;
}

// What a node that leaves has left behind.
Status CheckGivenUp(etcd::Admin& admin, const Record& record) {
  if (record.role != cluster::Role::kNode) return {};
  const std::string drain = fmt::format("gemel node drain {}, or say --force", record.name);
  ASSIGN_OR_RETURN(const etcd::KvSnapshot info, admin.Read(RangeOfKey(etcd::InfoKey(record.node))));
  for (const etcd::KeyValue& key : info.keys) {
    const Result<etcd::NodeInfo> known = etcd::DecodeInfo(key.value);
    if (!known || !known->drained)
      return FailedPrecondition("{} was not drained: {}", record.name, drain);
  }
  ASSIGN_OR_RETURN(const etcd::KvSnapshot all, admin.Read(etcd::RangeOf(etcd::Scope::kAll)));
  std::size_t machines = 0;
  for (const etcd::KeyValue& key : all.keys) {
    const auto what = etcd::DecodeKey(key.key);
    if (!what || what->kind != cluster::KeyKind::kVm) continue;
    const Result<cluster::Ownership> owned = etcd::DecodeOwnership(key.value);
    machines += !owned || (owned->owner == record.node && owned->state != cluster::VmState::kFree);
  }
  if (machines == 0) return {};
  return FailedPrecondition("{} still has {} machines of the cluster: {}", record.name, machines,
                            drain);
}

// What would be left without that member.
Status CheckRest(etcd::Admin& admin, const std::vector<Record>& records,
                 const std::vector<etcd::MemberInfo>& members, const Record& leaving,
                 const etcd::MemberInfo& member, const std::string& own) {
  // Who is asked is a node, but for a witness that leaves.
  bool other_node = leaving.role != cluster::Role::kNode || leaving.name != own;
  for (const Record& record : records)
    other_node |=
        !record.left && record.role == cluster::Role::kNode && record.name != leaving.name;
  if (!other_node) {
    return FailedPrecondition(
        "{} is the last node: the witness runs no machines and lets nobody in; let the witness "
        "leave "
        "first, then gemel cluster backup, then gemel cluster leave --destroy",
        leaving.name);
  }
  std::size_t voters = 0;
  std::size_t live = 0;
  std::string away;
  for (const etcd::MemberInfo& one : members) {
    if (one.id == member.id || one.learner) continue;
    ++voters;
    if (!one.client_urls.empty() && admin.StatusOf(EndpointOf(one.client_urls[0]))) {
      ++live;
    } else {
      away += (away.empty() ? "" : ", ") + one.name;
    }
  }
  if (live >= voters / 2 + 1) return {};
  return FailedPrecondition(
      "{} away: without {} the rest has no majority and everything stands still: bring it back, or "
      "replace it first",
      away.empty() ? "all others are" : away + " is", leaving.name);
}

// etcd changes its members only when all of them have been connected for five seconds.
template <class Change>
auto WhenHealthy(Change change) -> decltype(change()) {
  constexpr int kTries = 40;
  for (int i = 0;; ++i) {
    auto done = change();
    const bool young = !done && done.error().message.find("unhealthy cluster") != std::string::npos;
    if (!young) return done;
    if (i == kTries)
      return WithContext(std::move(done).error(), "a member is away: gemel cluster members");
    poll(nullptr, 0, 250);
  }
}

// Whom the new member's etcd looks for, and whom its clients ask.
void NameMembers(const std::vector<etcd::MemberInfo>& members, wire::JoinResponse& response) {
  for (const etcd::MemberInfo& member : members) {
    if (member.name.empty()) continue;
    for (const std::string& peer : member.peer_urls)
      response.mutable_initial_cluster()->append(fmt::format("{}={},", member.name, peer));
  }
}

}  // namespace

Result<Admission::Invited> Admission::Invite(cluster::Role role, std::int64_t ttl_seconds) {
  if (ttl_seconds < 1 || ttl_seconds > kLongestTtl)
    return InvalidArgument("ttl: {} s: from a second to a week", ttl_seconds);
  const cluster::ClusterConfig config = config_->Get();
  ASSIGN_OR_RETURN(const std::string pem, ReadTextFile(config.member.certificate));
  Token token;
  token.role = role;
  token.address = HostPort(config.member.address, config.member.join_port);
  ASSIGN_OR_RETURN(token.fingerprint, pki::FingerprintOf(pem));
  ASSIGN_OR_RETURN(token.secret, pki::RandomBytes(kSecretBytes));
  const MutexLock lock(mutex_);
  const std::int64_t now = now_();
  RETURN_IF_ERROR(invitations_.Add(token.secret, role, now + ttl_seconds, now));
  return Invited{EncodeToken(token), now + ttl_seconds};
}

Status Admission::Check(const std::string& secret) {
  const MutexLock lock(mutex_);
  return invitations_.Check(secret, now_());
}

Result<Admission::Known> Admission::Read(etcd::Admin& admin) const {
  Known known;
  const std::string key(kGeneration);
  ASSIGN_OR_RETURN(const etcd::KvSnapshot guard, admin.Read({key, key + '\0'}));
  if (!guard.keys.empty()) known.generation = guard.keys[0].changed;
  ASSIGN_OR_RETURN(const etcd::KvSnapshot found, admin.Read(RecordRange()));
  ASSIGN_OR_RETURN(known.records, DecodeRecords(found.keys));
  ASSIGN_OR_RETURN(known.members, admin.Members());
  return known;
}

Status Admission::Write(etcd::Admin& admin, const Known& known, const Record& record,
                        const std::string& override) const {
  const auto before = std::ranges::find(known.records, record.name, &Record::name);
  const std::int64_t changed = before == known.records.end() ? 0 : before->changed;
  etcd::KvTxn txn;
  txn.compares = {{std::string(kGeneration), known.generation}, {RecordKey(record.name), changed}};
  txn.puts = {{std::string(kGeneration), "1"}, {RecordKey(record.name), EncodeRecord(record)}};
  if (!override.empty()) txn.puts.push_back(etcd::OverridePut({now_(), override}, record.name));
  ASSIGN_OR_RETURN(const etcd::KvTxnAnswer answer, admin.Commit(txn));
  if (answer.succeeded) return {};
  return MakeError(Code::kAborted, "another member came or went at the same time: try again");
}

// The record first: a member that is removed answers nothing any more, and it may be this one.
// Its certificates are revoked when etcd has let it go (upkeep.h).
Status Admission::RemoveMember(etcd::Admin& admin, const Known& known, Record record,
                               const std::string& override) const {
  record.left = true;
  RETURN_IF_ERROR(Write(admin, known, record, override));
  const etcd::MemberInfo* const member = Find(known.members, [&](const etcd::MemberInfo& one) {
    return one.id == record.member_id || one.name == record.name;
  });
  if (member == nullptr) return {};
  Status removed = WhenHealthy([&] { return admin.Remove(member->id); });
  if (removed) return removed;
  record.left = false;
  if (const Result<Known> now = Read(admin)) static_cast<void>(Write(admin, *now, record));
  return removed;
}

// A member of etcd that learns, and will vote. After an error nothing is left of it, nor of its record.
Status Admission::AddToEtcd(etcd::Admin& admin, Record& record, std::uint16_t peer_port,
                            wire::JoinResponse* response) const {
  const std::string url = "https://" + HostPort(record.address, peer_port);
  const Result<etcd::MemberInfo> added = WhenHealthy([&] { return admin.AddLearner(url); });
  Result<Known> after = Read(admin);
  if (!added || !after) {
    // An addition without an answer may have been done.
    const auto* const half = !after ? nullptr : Find(after->members, [&](const auto& one) {
      return std::ranges::find(one.peer_urls, url) != one.peer_urls.end();
    });
    if (half != nullptr) static_cast<void>(admin.Remove(half->id));
    if (after) static_cast<void>(RemoveMember(admin, *after, record));
    return std::unexpected(added ? after.error() : added.error());
  }
  record.member_id = added->id;
  RETURN_IF_ERROR(Write(admin, *after, record));
  NameMembers(after->members, *response);
  response->mutable_initial_cluster()->append(fmt::format("{}={}", record.name, url));
  return {};
}

Status Admission::AddMember(etcd::Admin& admin, Record record, const wire::JoinRequest& request,
                            wire::JoinResponse* response) const {
  ASSIGN_OR_RETURN(Known known, Read(admin));
  RETURN_IF_ERROR(CheckJoin(record, known.records));
  RETURN_IF_ERROR(CheckNames(admin, request));
  ASSIGN_OR_RETURN(const etcd::KvSnapshot level, admin.Read(RangeOfKey(kLevelKey)));
  RETURN_IF_ERROR(CheckLevel(record, level));
  RETURN_IF_ERROR(CheckNobodyJoins(known.members));
  const bool node = record.role == cluster::Role::kNode;
  if (!node) RETURN_IF_ERROR(CheckWitness(known.members.size()));
  if (node) {
    ASSIGN_OR_RETURN(record.node, NextNode(known.records));
  }
  const cluster::ClusterConfig config = config_->Get();
  ASSIGN_OR_RETURN(const std::string authority, ReadTextFile(config.ca));
  ASSIGN_OR_RETURN(const std::string key, ReadTextFile(config.member.authority_key));
  ASSIGN_OR_RETURN(const Credentials made,
                   IssueCredentials(record.name, record.address, record.role, authority, key,
                                    now_(), CertificateSeconds()));
  ASSIGN_OR_RETURN(record.serials, SerialsOf(made));
  Inherit(record, known.records);
  // The name first: two that ask at once must not both get it.
  RETURN_IF_ERROR(Write(admin, known, record));
  if (!node || known.members.size() < MostVotes())
    RETURN_IF_ERROR(
        AddToEtcd(admin, record, static_cast<std::uint16_t>(request.peer_port()), response));
  response->set_cluster(config.cluster);
  response->set_node(record.node);
  for (const etcd::MemberInfo& member : known.members)
    for (const std::string& client : member.client_urls)
      response->add_endpoints(EndpointOf(client));
  response->set_initial_token(config.member.initial_token);
  response->set_authority(authority);
  if (node) response->set_authority_key(key);
  response->set_member_pem(made.member_pem);
  response->set_node_pem(made.node_pem);
  ASSIGN_OR_RETURN(const etcd::KvSnapshot revoked, admin.Read(RangeOfKey(kRevokedKey)));
  for (const etcd::KeyValue& list : revoked.keys) response->set_revocation_list(list.value);
  LOG_UNLIMITED(kInfo, "member", "{} at {} joins{}", record.name, record.address,
                response->initial_cluster().empty() ? ", without a vote" : "");
  return {};
}

Status Admission::Join(const wire::JoinRequest& request, wire::JoinResponse* response) {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(invitations_.Check(request.secret(), now_()));
  RETURN_IF_ERROR(CheckRequest(request));
  const Record wanted = WantedOf(request);
  ASSIGN_OR_RETURN(const std::unique_ptr<etcd::Admin> admin, connect_(Ask::kNearest));
  RETURN_IF_ERROR(invitations_.Use(request.secret(), wanted.role, wanted.name, now_()));
  Status added = AddMember(*admin, wanted, request, response);
  if (!added) invitations_.Undo(request.secret());
  return added;
}

Status Admission::Abandon(const std::string& secret) {
  const MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const std::string name, invitations_.UserOf(secret));
  ASSIGN_OR_RETURN(const std::unique_ptr<etcd::Admin> admin, connect_(Ask::kNearest));
  ASSIGN_OR_RETURN(const Known known, Read(*admin));
  const auto record = std::ranges::find(known.records, name, &Record::name);
  if (record == known.records.end() || record->left) return {};
  const auto* const member =
      Find(known.members, [&](const etcd::MemberInfo& one) { return one.id == record->member_id; });
  if (member != nullptr && !member->learner)
    return FailedPrecondition("{} has a vote already: gemel cluster leave", name);
  LOG_UNLIMITED(kWarning, "member", "{} did not join after all", name);
  return RemoveMember(*admin, known, *record);
}

Status Admission::Renew(const std::string& name, const std::string& serial,
                        wire::RenewResponse* response) {
  const MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const std::unique_ptr<etcd::Admin> admin, connect_(Ask::kNearest));
  ASSIGN_OR_RETURN(const Known known, Read(*admin));
  const auto record = std::ranges::find(known.records, name, &Record::name);
  if (record == known.records.end() || record->left)
    return MakeError(Code::kPermissionDenied, fmt::format("{}: no member has that name", name));
  for (const Record& one : known.records)
    if (std::ranges::find(one.revoked, serial) != one.revoked.end())
      return MakeError(Code::kPermissionDenied, fmt::format("{}: that one is revoked", name));
  const cluster::ClusterConfig config = config_->Get();
  ASSIGN_OR_RETURN(const std::string authority, ReadTextFile(config.ca));
  ASSIGN_OR_RETURN(const std::string key, ReadTextFile(config.member.authority_key));
  // Nodes renew their own; whatever its record says, who asks is none.
  ASSIGN_OR_RETURN(const Credentials made,
                   IssueCredentials(name, record->address, cluster::Role::kWitness, authority, key,
                                    now_(), CertificateSeconds()));
  // What is not recorded could not be revoked.
  Record renewed = *record;
  ASSIGN_OR_RETURN(const std::vector<std::string> serials, SerialsOf(made));
  AddSerials(renewed, serials);
  RETURN_IF_ERROR(Write(*admin, known, renewed));
  response->set_member_pem(made.member_pem);
  response->set_node_pem(made.node_pem);
  return {};
}

Status Admission::Remove(const std::string& name, bool force) {
  const MutexLock lock(mutex_);
  const bool self = name == config_->Get().name;
  ASSIGN_OR_RETURN(const std::unique_ptr<etcd::Admin> admin,
                   connect_(self ? Ask::kOthers : Ask::kNearest));
  ASSIGN_OR_RETURN(const Known known, Read(*admin));
  const auto record = std::ranges::find(known.records, name, &Record::name);
  if (record == known.records.end())
    return MakeError(Code::kNotFound, fmt::format("{}: no member has that name", name));
  const auto* const member = Find(known.members, [&](const etcd::MemberInfo& one) {
    return one.id == record->member_id || one.name == name;
  });
  if (record->left && member == nullptr)
    return MakeError(Code::kNotFound, fmt::format("{}: has left already", name));
  if (known.members.size() < 2 && member != nullptr) {
    return FailedPrecondition(
        "{} is the last member: without it nothing is left of the cluster; gemel cluster backup, "
        "then "
        "gemel cluster leave --destroy",
        name);
  }
  const bool answers = member == nullptr
                           ? IsBeating(*admin, record->node)
                           : !member->client_urls.empty() &&
                                 admin->StatusOf(EndpointOf(member->client_urls[0])).has_value();
  if (!self && !force && answers) {
    return FailedPrecondition(
        "{} is alive: let it leave itself (gemel cluster leave there), or say --force", name);
  }
  if (member != nullptr)
    RETURN_IF_ERROR(
        CheckRest(*admin, known.records, known.members, *record, *member, config_->Get().name));
  Status given_up = self ? CheckGivenUp(*admin, *record) : Status();
  if (!given_up && !force) return given_up;
  std::string override;
  if (force) {
    override = fmt::format("{} removed by force on {}{}{}", name, config_->Get().name,
                           given_up ? "" : ": ", given_up ? "" : given_up.error().message);
  }
  LOG_UNLIMITED(kWarning, "member", "{} is removed{}", name, force ? " by force" : "");
  return RemoveMember(*admin, known, *record, override);
}

}  // namespace gemel::member
