#include "member/admission.h"

#include <poll.h>

#include <algorithm>

#include "base/file_util.h"
#include "base/log.h"
#include "member/credentials.h"
#include "member/etcd_words.h"
#include "member/token.h"
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
constexpr std::string_view kScheme = "https://";

std::string EndpointOf(const std::string& url) {
  return url.starts_with(kScheme) ? url.substr(kScheme.size()) : url;
}

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
    if (port == 0 || port > 65535) return InvalidArgument("port: {}: not a port", port);
  return {};
}

Record WantedOf(const wire::JoinRequest& request) {
  Record record;
  record.name = request.name();
  record.role = request.role() == wire::ROLE_NODE ? cluster::Role::kNode : cluster::Role::kWitness;
  record.address = request.address();
  record.machine = request.machine();
  record.version = request.version();
  return record;
}

const etcd::MemberInfo* Find(const std::vector<etcd::MemberInfo>& members,
                             const std::function<bool(const etcd::MemberInfo&)>& is) {
  const auto found = std::ranges::find_if(members, is);
  return found == members.end() ? nullptr : &*found;
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

Status Admission::Write(etcd::Admin& admin, const Known& known, const Record& record) {
  etcd::KvTxn txn;
  txn.compares = {{std::string(kGeneration), known.generation}};
  txn.puts = {{std::string(kGeneration), "1"}, {RecordKey(record.name), EncodeRecord(record)}};
  ASSIGN_OR_RETURN(const etcd::KvTxnAnswer answer, admin.Commit(txn));
  if (answer.succeeded) return {};
  return MakeError(Code::kAborted, "another member came or went at the same time: try again");
}

// The record first: a member that is removed answers nothing any more, and it may be this one.
Status Admission::RemoveMember(etcd::Admin& admin, const Known& known, Record record) const {
  record.left = true;
  RETURN_IF_ERROR(Write(admin, known, record));
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

Status Admission::AddMember(etcd::Admin& admin, Record record, const wire::JoinRequest& request,
                            wire::JoinResponse* response) const {
  ASSIGN_OR_RETURN(Known known, Read(admin));
  RETURN_IF_ERROR(CheckJoin(record, known.records));
  const auto* const joining =
      Find(known.members, [](const etcd::MemberInfo& one) { return one.learner; });
  if (joining != nullptr) {
    return MakeError(Code::kAborted,
                     fmt::format("{} is joining at this moment: try again when it has a vote",
                                 joining->name.empty() ? "another member" : joining->name));
  }
  if (record.role == cluster::Role::kNode) {
    ASSIGN_OR_RETURN(record.node, NextNode(known.records));
  }
  const cluster::ClusterConfig config = config_->Get();
  ASSIGN_OR_RETURN(const std::string authority, ReadTextFile(config.ca));
  ASSIGN_OR_RETURN(const std::string key, ReadTextFile(config.member.authority_key));
  ASSIGN_OR_RETURN(
      const Credentials made,
      IssueCredentials(record.name, record.address, authority, key, now_(),
                       record.role == cluster::Role::kNode ? kCertificateDays : kWitnessDays));
  // The name first: two that ask at once must not both get it.
  RETURN_IF_ERROR(Write(admin, known, record));
  const std::string url =
      "https://" + HostPort(record.address, static_cast<std::uint16_t>(request.peer_port()));
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
  response->set_cluster(config.cluster);
  response->set_node(record.node);
  for (const etcd::MemberInfo& member : after->members) {
    if (member.name.empty()) continue;
    for (const std::string& peer : member.peer_urls)
      response->mutable_initial_cluster()->append(fmt::format("{}={},", member.name, peer));
    for (const std::string& client : member.client_urls)
      response->add_endpoints(EndpointOf(client));
  }
  response->mutable_initial_cluster()->append(fmt::format("{}={}", record.name, url));
  response->set_initial_token(config.member.initial_token);
  response->set_authority(authority);
  if (record.role == cluster::Role::kNode) response->set_authority_key(key);
  response->set_member_pem(made.member_pem);
  response->set_node_pem(made.node_pem);
  LOG_UNLIMITED(kInfo, "member", "{} at {} joins", record.name, record.address);
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

Status Admission::Renew(const std::string& name, wire::RenewResponse* response) {
  const MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const std::unique_ptr<etcd::Admin> admin, connect_(Ask::kNearest));
  ASSIGN_OR_RETURN(const Known known, Read(*admin));
  const auto record = std::ranges::find(known.records, name, &Record::name);
  if (record == known.records.end() || record->left)
    return MakeError(Code::kPermissionDenied, fmt::format("{}: no member has that name", name));
  const cluster::ClusterConfig config = config_->Get();
  ASSIGN_OR_RETURN(const std::string authority, ReadTextFile(config.ca));
  ASSIGN_OR_RETURN(const std::string key, ReadTextFile(config.member.authority_key));
  ASSIGN_OR_RETURN(const Credentials made,
                   IssueCredentials(name, record->address, authority, key, now_()));
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
  if (member != nullptr && !member->client_urls.empty() && !self && !force &&
      admin->StatusOf(EndpointOf(member->client_urls[0]))) {
    return FailedPrecondition(
        "{} is alive: let it leave itself (gemel cluster leave there), or say --force", name);
  }
  LOG_UNLIMITED(kWarning, "member", "{} is removed{}", name, force ? " by force" : "");
  return RemoveMember(*admin, known, *record);
}

}  // namespace gemel::member
