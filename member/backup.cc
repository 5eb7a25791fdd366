#include "member/backup.h"

#include <algorithm>
#include <limits>

#include "etcd/codec.h"
#include "etcd/spec_codec.h"
#include "member/record.h"
#include "pki/sha256.h"
#include "proto/member/member.pb.h"

namespace gemel::member {
namespace {

constexpr std::uint32_t kFormat = 1;
constexpr std::string_view kMagic = "gemel cluster backup 1\n";
constexpr std::size_t kDigest = 64;
// etcd takes 128 in one transaction, and 1.5 MiB.
constexpr std::size_t kMostPuts = 16;

// Nodes may know machines that were made after the backup by numbers that it does not have. A node that meets
// one again ends what had it (grpc/cluster_member.h), but none need be given twice.
constexpr std::uint32_t kSkippedVms = 100'000;

Result<std::string> SkipVms(std::string_view last) {
  ASSIGN_OR_RETURN(const std::uint32_t vm, etcd::DecodeLastVm(last));
  const std::uint32_t left = std::numeric_limits<std::uint32_t>::max() - vm;
  return etcd::EncodeLastVm(vm + std::min(kSkippedVms, left / 2));
}

std::string IncarnationKey() { return etcd::EncodeKey({cluster::KeyKind::kIncarnation, 0}); }

std::string DigestOf(std::string_view bytes) {
  pki::Sha256 digest;
  digest.Update(bytes);
  return digest.HexDigest();
}

}  // namespace

Result<Backup> TakeBackup(etcd::Admin& admin, const std::string& cluster, std::int64_t now) {
  ASSIGN_OR_RETURN(etcd::KvSnapshot all, admin.Read({"/gemel/", "/gemel0"}));
  Backup backup{cluster, now, 0, {}};
  for (etcd::KeyValue& key : all.keys) {
    if (key.key == IncarnationKey()) {
      ASSIGN_OR_RETURN(backup.incarnation, etcd::DecodeIncarnation(key.value));
    } else {
      backup.keys.push_back(std::move(key));
    }
  }
  if (backup.incarnation == 0) return FailedPrecondition("etcd here belongs to no cluster yet");
  return backup;
}

std::string EncodeBackup(const Backup& backup) {
  internal::member::ClusterBackup wire;
  wire.set_format(kFormat);
  wire.set_cluster(backup.cluster);
  wire.set_time(backup.time);
  wire.set_incarnation(backup.incarnation);
  for (const etcd::KeyValue& key : backup.keys) {
    internal::member::BackupKey& to = *wire.add_keys();
    to.set_key(key.key);
    to.set_value(key.value);
  }
  const std::string bytes = wire.SerializeAsString();
  return std::string(kMagic) + DigestOf(bytes) + bytes;
}

Result<Backup> DecodeBackup(std::string_view bytes) {
  if (!bytes.starts_with(kMagic)) return InvalidArgument("not a backup of gemel cluster backup");
  bytes.remove_prefix(kMagic.size());
  internal::member::ClusterBackup wire;
  const bool whole = bytes.size() >= kDigest &&
                     DigestOf(bytes.substr(kDigest)) == bytes.substr(0, kDigest) &&
                     wire.ParseFromString(std::string(bytes.substr(kDigest)));
  if (!whole)
    return MakeError(Code::kDataLoss, "the backup is damaged: it is not as it was written");
  if (wire.format() != kFormat)
    return MakeError(Code::kUnimplemented, "the backup is of a later version of Gemel");
  Backup backup{wire.cluster(), wire.time(), wire.incarnation(), {}};
  for (const internal::member::BackupKey& key : wire.keys())
    backup.keys.push_back({key.key(), key.value(), 0});
  return backup;
}

Status WriteBackup(etcd::Admin& admin, const Backup& backup, const std::string& name) {
  std::vector<etcd::KvTxn::Put> puts;
  for (const etcd::KeyValue& key : backup.keys) {
    if (key.key == etcd::kLastVmKey) {
      ASSIGN_OR_RETURN(std::string skipped, SkipVms(key.value));
      puts.push_back({key.key, std::move(skipped)});
      continue;
    }
    const auto range = RecordRange();
    if (key.key < range.first || key.key >= range.end) {
      puts.push_back({key.key, key.value});
      continue;
    }
    ASSIGN_OR_RETURN(std::vector<Record> records, DecodeRecords({key}));
    records[0].left = records[0].name != name;
    records[0].member_id = 0;
    puts.push_back({key.key, EncodeRecord(records[0])});
  }
  const etcd::KvTxn::Compare no_cluster{IncarnationKey(), 0};
  for (std::size_t i = 0; i < puts.size(); i += kMostPuts) {
    const auto end = std::min(puts.size(), i + kMostPuts);
    etcd::KvTxn txn;
    txn.compares = {no_cluster};
    txn.puts.assign(puts.begin() + static_cast<std::ptrdiff_t>(i),
                    puts.begin() + static_cast<std::ptrdiff_t>(end));
    ASSIGN_OR_RETURN(const etcd::KvTxnAnswer answer, admin.Commit(txn));
    if (!answer.succeeded) return {};  // it was done before
  }
  etcd::KvTxn last;
  last.compares = {no_cluster};
  last.puts = {{IncarnationKey(), etcd::EncodeIncarnation(backup.incarnation)}};
  RETURN_IF_ERROR(admin.Commit(last));
  return {};
}

}  // namespace gemel::member
