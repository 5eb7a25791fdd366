#include "member/renewal.h"

#include <algorithm>

#include "base/file_util.h"
#include "base/log.h"
#include "member/etcd_words.h"
#include "pki/certificate.h"

namespace gemel::member {
namespace {

constexpr std::int64_t kMostPause = 3'600;
constexpr std::int64_t kLooksPerLife = 50;
constexpr std::uint16_t kUsualJoinPort = 2381;

}  // namespace

Status Renewal::Look(etcd::Admin& admin, const cluster::ClusterConfig& config,
                     const std::vector<Record>& records, std::int64_t now) {
  const std::int64_t life = CertificateSeconds();
  if (looked_ != 0 && now - looked_ < std::min(kMostPause, life / kLooksPerLife) && now >= looked_)
    return {};
  looked_ = now;
  ASSIGN_OR_RETURN(const std::string member, ReadTextFile(config.member.certificate));
  ASSIGN_OR_RETURN(const std::string node, ReadTextFile(config.certificate));
  ASSIGN_OR_RETURN(const bool member_needs, NeedsRenewal(member, now, life));
  ASSIGN_OR_RETURN(const bool node_needs, NeedsRenewal(node, now, life));
  ASSIGN_OR_RETURN(const pki::Certificate own, pki::ReadCertificate(node));
  const bool unsaid =
      config.role == cluster::Role::kNode && own.node.empty();  // of versions before
  if (!member_needs && !node_needs && !unsaid) return {};
  ASSIGN_OR_RETURN(const Credentials made, Make(admin, config, records, now));
  RETURN_IF_ERROR(ReplaceFile(config.member.certificate, made.member_pem));
  RETURN_IF_ERROR(ReplaceFile(config.certificate, made.node_pem));
  ASSIGN_OR_RETURN(const pki::Certificate until, pki::ReadCertificate(made.member_pem));
  LOG_UNLIMITED(kInfo, "member", "certificates renewed: until {}", pki::DayText(until.not_after));
  return {};
}

Result<Credentials> Renewal::Make(etcd::Admin& admin, const cluster::ClusterConfig& config,
                                  const std::vector<Record>& records, std::int64_t now) const {
  if (config.member.authority_key.empty()) return AskNodes(config, records);
  ASSIGN_OR_RETURN(const std::string authority, ReadTextFile(config.ca));
  ASSIGN_OR_RETURN(const std::string key, ReadTextFile(config.member.authority_key));
  ASSIGN_OR_RETURN(Credentials made,
                   IssueCredentials(config.name, config.member.address, config.role, authority, key,
                                    now, CertificateSeconds()));
  // What is not recorded could not be revoked.
  const auto own = std::ranges::find(records, config.name, &Record::name);
  if (own == records.end()) return made;
  Record record = *own;
  ASSIGN_OR_RETURN(const std::vector<std::string> serials, SerialsOf(made));
  AddSerials(record, serials);
  etcd::KvTxn txn;
  txn.compares = {{RecordKey(record.name), record.changed}};
  txn.puts = {{RecordKey(record.name), EncodeRecord(record)}};
  ASSIGN_OR_RETURN(const etcd::KvTxnAnswer answer, admin.Commit(txn));
  if (answer.succeeded) return made;
  return MakeError(Code::kAborted, "its record changed meanwhile");
}

Result<Credentials> Renewal::AskNodes(const cluster::ClusterConfig& config,
                                      const std::vector<Record>& records) const {
  Result<Credentials> last =
      MakeError(Code::kUnavailable, "no node is known that could renew the certificates");
  for (const Record& record : records) {
    if (record.left || record.role != cluster::Role::kNode) continue;
    last = ask_(config, HostPort(record.address,
                                 record.join_port == 0 ? kUsualJoinPort : record.join_port));
    if (last) return last;
  }
  return last;
}

}  // namespace gemel::member
