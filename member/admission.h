// Who becomes a member and who ceases to be one: the part of gemel-member on a node that has the
// authority's key. Each call asks etcd and blocks; any thread, one at a time.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "etcd/grpc_admin.h"
#include "member/invitations.h"
#include "member/record.h"
#include "member/shared_config.h"

namespace gemel::internal::member {
class JoinRequest;
class JoinResponse;
class RenewResponse;
}  // namespace gemel::internal::member

namespace gemel::member {

class Admission {
 public:
  // Whom of etcd's members first.
  enum class Ask : std::uint8_t { kNearest, kOthers };
  using Connect = std::function<Result<std::unique_ptr<etcd::Admin>>(Ask ask)>;
  // `now` in seconds since 1970. config outlives it.
  Admission(SharedConfig* config, Connect connect, std::function<std::int64_t()> now)
      : config_(config), connect_(std::move(connect)), now_(std::move(now)) {}

  struct Invited {
    std::string token;
    std::int64_t expires = 0;
  };
  Result<Invited> Invite(cluster::Role role, std::int64_t ttl_seconds) EXCLUDES(mutex_);
  // Whether the secret may ask anything here.
  Status Check(const std::string& secret) EXCLUDES(mutex_);
  // Whole or not at all: after an error nothing is left of it, and the invitation can be used again.
  Status Join(const internal::member::JoinRequest& request,
              internal::member::JoinResponse* response) EXCLUDES(mutex_);
  Status Abandon(const std::string& secret) EXCLUDES(mutex_);
  // New certificates for the member of that name, which has proved who it is by the certificate of that
  // serial number.
  Status Renew(const std::string& name, const std::string& serial,
               internal::member::RenewResponse* response) EXCLUDES(mutex_);
  // kFailedPrecondition without `force` if that member answers, unless it is this one; or if it has
  // machines or was not drained. With or without it if nothing that works would be left.
  Status Remove(const std::string& name, bool force) EXCLUDES(mutex_);

 private:
  struct Known {
    std::vector<Record> records;
    std::vector<etcd::MemberInfo> members;
    std::int64_t generation = 0;  // last change of the key that guards all records
  };
  Result<Known> Read(etcd::Admin& admin) const;
  // With `override`: what somebody had done against a refusal.
  Status Write(etcd::Admin& admin, const Known& known, const Record& record,
               const std::string& override = "") const;
  Status AddToEtcd(etcd::Admin& admin, Record& record, std::uint16_t peer_port,
                   internal::member::JoinResponse* response) const;
  Status AddMember(etcd::Admin& admin, Record record, const internal::member::JoinRequest& request,
                   internal::member::JoinResponse* response) const;
  Status RemoveMember(etcd::Admin& admin, const Known& known, Record record,
                      const std::string& override = "") const;

  SharedConfig* const config_;
  const Connect connect_;
  const std::function<std::int64_t()> now_;
  Mutex mutex_;
  Invitations invitations_ GUARDED_BY(mutex_);
};

}  // namespace gemel::member
