// A call that another node of the cluster passes on for somebody: who that is, as metadata of the call,
// and the belief in it. Only the holder of a certificate of the cluster's own authority that is a node may
// speak for others; roles are judged anew by whoever is asked.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "grpc/access/caller.h"
#include "grpc/access/identity.h"
#include "pki/certificate.h"
#include "pki/revocation_list.h"

namespace gemel::access {

// gRPC takes any bytes under a key that ends so.
inline constexpr std::string_view kForwardedKey = "gemel-forwarded-bin";

// Lines: "1", the kind, the name, the address, then each other name that means the same on all nodes.
std::string FormatForwarded(const Caller& caller);
// kInvalidArgument for anything but that. `via` is not in it.
Result<Caller> ParseForwarded(std::string_view text);

// Peers with a certificate of the cluster's authority: they speak for others, never for themselves.
// Certificates of other authorities are not this provider's.
class NodeIdentity : public IdentityProvider {
 public:
  // `is_node`: whether that is the name of another node of the cluster; on any thread. `revoked`: the
  // cluster's list; null if there is none.
  NodeIdentity(std::string authority_pem, std::shared_ptr<pki::RevocationList> revoked,
               std::function<bool(const std::string&)> is_node, const Clock* clock)
      : authority_(std::move(authority_pem)),
        revoked_(std::move(revoked)),
        is_node_(std::move(is_node)),
        clock_(clock) {}
  Result<std::optional<Caller>> Identify(const PeerFacts& facts) override;

 private:
  struct Known {
    std::string pem;
    std::optional<pki::Certificate> certificate;  // nullopt: not of our authority
  };
  std::optional<pki::Certificate> Read(const std::string& pem) EXCLUDES(mutex_);

  const std::string authority_;
  const std::shared_ptr<pki::RevocationList> revoked_;
  const std::function<bool(const std::string&)> is_node_;
  const Clock* const clock_;
  Mutex mutex_;
  std::vector<Known> known_ GUARDED_BY(mutex_);  // newest last
};

}  // namespace gemel::access
