// The certificates of a cluster: its authority, and two files a member, each with certificate and key.
//
//   member.pem   etcd's, and the join port's: server and client, of the member's address
//   node.pem     of clients of etcd on that machine: keeper, gemeld, gemel-member, gemel
//
// Texts, not files; the clock is handed in.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cluster/config/cluster_config.h"
#include "pki/make_certificate.h"

namespace gemel::member {

struct Credentials {
  std::string member_pem;
  std::string node_pem;
};

inline constexpr std::int64_t kDay = 86'400;
inline constexpr std::int64_t kCertificateDays = 90;

// How long certificates live that are made now: kCertificateDays, or as GEMEL_CERTIFICATE_SECONDS says
// (for tests).
std::int64_t CertificateSeconds();
// When less than a third of `life` is left; or far more, as certificates of witnesses once had.
// kInvalidArgument if it is no certificate.
Result<bool> NeedsRenewal(std::string_view pem, std::int64_t now, std::int64_t life);

Result<pki::KeyAndCertificate> MakeClusterAuthority(const std::string& cluster, std::int64_t now);
// Only a node's node.pem says that it is one, and so may speak for callers (grpc/access/forwarded.h).
Result<Credentials> IssueCredentials(const std::string& name, const std::string& address,
                                     cluster::Role role, std::string_view authority_pem,
                                     std::string_view authority_key, std::int64_t now,
                                     std::int64_t seconds = kCertificateDays * kDay);
// Of both.
Result<std::vector<std::string>> SerialsOf(const Credentials& credentials);
// One that names these and no others.
Result<std::string> MakeClusterRevocationList(const std::vector<std::string>& serials,
                                              std::string_view authority_pem,
                                              std::string_view authority_key, std::int64_t now);
// Whole days until it ends; kInvalidArgument if it is no certificate.
Result<std::int64_t> DaysLeft(std::string_view pem, std::int64_t now);

}  // namespace gemel::member
