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

#include "base/result.h"
#include "pki/make_certificate.h"

namespace gemel::member {

struct Credentials {
  std::string member_pem;
  std::string node_pem;
};

inline constexpr std::int64_t kDay = 86'400;
inline constexpr std::int64_t kCertificateDays = 90;
// A witness cannot sign its own: they last as long as the authority.
inline constexpr std::int64_t kWitnessDays = 3650;
// Renewed when less than this is left.
inline constexpr std::int64_t kRenewDays = 30;

Result<pki::KeyAndCertificate> MakeClusterAuthority(const std::string& cluster, std::int64_t now);
Result<Credentials> IssueCredentials(const std::string& name, const std::string& address,
                                     std::string_view authority_pem, std::string_view authority_key,
                                     std::int64_t now, std::int64_t days = kCertificateDays);
// Whole days until it ends; kInvalidArgument if it is no certificate.
Result<std::int64_t> DaysLeft(std::string_view pem, std::int64_t now);

}  // namespace gemel::member
