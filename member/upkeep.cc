#include "member/upkeep.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/file_util.h"
#include "base/log.h"
#include "etcd/spec_codec.h"
#include "member/credentials.h"
#include "member/etcd_words.h"
#include "pki/revocation_list.h"

namespace gemel::member {
namespace {

// Whoever else changed it at the same moment: the next look sees what is there.
Status PutRecord(etcd::Admin& admin, const Record& record, std::vector<std::string> deletes = {}) {
  etcd::KvTxn txn;
  txn.deletes = std::move(deletes);
  txn.compares = {{RecordKey(record.name), record.changed}};
  txn.puts = {{RecordKey(record.name), EncodeRecord(record)}};
  RETURN_IF_ERROR(admin.Commit(txn));
  return {};
}

// As this machine is now: upgraded perhaps, or with new certificates.
Status KeepOwn(etcd::Admin& admin, const cluster::ClusterConfig& config, const Record& known,
               std::uint32_t level) {
  Record own = known;
  own.version = GEMEL_VERSION;
  own.level = level;
  if (own.role == cluster::Role::kNode) own.join_port = config.member.join_port;
  ASSIGN_OR_RETURN(const std::vector<std::string> serials, OwnSerials(config));
  AddSerials(own, serials);
  if (own == known) return {};
  return PutRecord(admin, own);
}

// Those who left, and are no members of etcd any more.
Status RevokeTheGone(etcd::Admin& admin, std::vector<Record>& records,
                     const std::vector<etcd::MemberInfo>& members) {
  for (Record& record : records) {
    const bool is_there = std::ranges::any_of(
        members, [&](const etcd::MemberInfo& one) { return one.id == record.member_id; });
    if (!record.left || record.serials.empty() || is_there) continue;
    record.revoked.insert(record.revoked.end(), record.serials.begin(), record.serials.end());
    record.serials.clear();
    std::vector<std::string> entries;  // nobody asks that node, or waits for it, any more
    if (record.node != 0) entries.push_back(etcd::InfoKey(record.node));
    RETURN_IF_ERROR(PutRecord(admin, record, std::move(entries)));
    LOG_UNLIMITED(kWarning, "member", "certificates of {} are revoked", record.name);
  }
  return {};
}

// Signs it anew if it names others than the records do.
Status Sign(etcd::Admin& admin, const cluster::ClusterConfig& config, const etcd::KeyValue& list,
            const std::vector<Record>& records, std::int64_t now) {
  std::set<std::string> wanted;
  for (const Record& record : records) wanted.insert(record.revoked.begin(), record.revoked.end());
  ASSIGN_OR_RETURN(const std::string authority, ReadTextFile(config.ca));
  const auto named = pki::ReadRevocationList(list.value, authority);
  if (named && *named == wanted) return {};
  ASSIGN_OR_RETURN(const std::string key, ReadTextFile(config.member.authority_key));
  ASSIGN_OR_RETURN(const std::string made,
                   MakeClusterRevocationList({wanted.begin(), wanted.end()}, authority, key, now));
  etcd::KvTxn txn;
  txn.compares = {{std::string(kRevokedKey), list.changed}};
  txn.puts = {{std::string(kRevokedKey), made}};
  RETURN_IF_ERROR(admin.Commit(txn));
  return {};
}

Status WriteList(const cluster::ClusterConfig& config, const std::string& list) {
  const std::string path = RevocationFile(config);
  if (const auto there = ReadTextFile(path); there && *there == list) return {};
  ASSIGN_OR_RETURN(const std::string authority, ReadTextFile(config.ca));
  // etcd lets nobody in if it cannot read it.
  RETURN_IF_ERROR(pki::ReadRevocationList(list, authority));
  return ReplaceFile(path, list);
}

Result<etcd::KeyValue> ReadKey(etcd::Admin& admin, std::string_view key) {
  ASSIGN_OR_RETURN(const etcd::KvSnapshot found, admin.Read(RangeOfKey(key)));
  return found.keys.empty() ? etcd::KeyValue{std::string(key), "", 0} : found.keys[0];
}

// The lowest of all members', and never lower than it was.
Result<std::uint32_t> KeepLevel(etcd::Admin& admin, const std::vector<Record>& records,
                                std::uint32_t own) {
  ASSIGN_OR_RETURN(const etcd::KeyValue known, ReadKey(admin, kLevelKey));
  const auto level = static_cast<std::uint32_t>(NumberOf(known.value));
  if (level > own) {
    return FailedPrecondition(
        "the cluster's records are of feature level {}, and this version understands {}: upgrade "
        "Gemel here",
        level, own);
  }
  std::uint32_t lowest = own;
  for (const Record& record : records)
    if (!record.left) lowest = std::min(lowest, record.level);
  if (lowest <= level) return level;
  etcd::KvTxn txn;
  txn.compares = {{std::string(kLevelKey), known.changed}};
  txn.puts = {{std::string(kLevelKey), fmt::format("{}", lowest)}};
  ASSIGN_OR_RETURN(const etcd::KvTxnAnswer answer, admin.Commit(txn));
  if (!answer.succeeded) return level;
  LOG_UNLIMITED(kInfo, "member", "feature level {}: all members understand it", lowest);
  return lowest;
}

}  // namespace

Result<std::vector<std::string>> OwnSerials(const cluster::ClusterConfig& config) {
  Credentials own;
  ASSIGN_OR_RETURN(own.member_pem, ReadTextFile(config.member.certificate));
  ASSIGN_OR_RETURN(own.node_pem, ReadTextFile(config.certificate));
  return SerialsOf(own);
}

Result<Upkeep> KeepRecords(etcd::Admin& admin, const cluster::ClusterConfig& config,
                           const std::vector<etcd::MemberInfo>& members, std::int64_t now,
                           std::uint32_t level) {
  Upkeep upkeep;
  ASSIGN_OR_RETURN(const etcd::KvSnapshot found, admin.Read(RecordRange()));
  ASSIGN_OR_RETURN(upkeep.records, DecodeRecords(found.keys));
  const auto own = std::ranges::find(upkeep.records, config.name, &Record::name);
  if (own == upkeep.records.end() || own->left) return upkeep;
  ASSIGN_OR_RETURN(upkeep.level, KeepLevel(admin, upkeep.records, level));
  RETURN_IF_ERROR(KeepOwn(admin, config, *own, level));
  ASSIGN_OR_RETURN(const etcd::KeyValue list, ReadKey(admin, kRevokedKey));
  if (!config.member.authority_key.empty() && upkeep.level >= 1) {
    RETURN_IF_ERROR(RevokeTheGone(admin, upkeep.records, members));
    RETURN_IF_ERROR(Sign(admin, config, list, upkeep.records, now));
  }
  if (!list.value.empty()) RETURN_IF_ERROR(WriteList(config, list.value));
  return upkeep;
}

}  // namespace gemel::member
