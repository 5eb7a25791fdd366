// From what the transport knows of a call's peer to who it is. The seam for more ways to tell (LDAP
// behind certificates, OIDC tokens): another IdentityProvider in the list.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "grpc/access/caller.h"
#include "pki/certificate.h"
#include "pki/revocation_list.h"

namespace gemel::access {

struct PeerFacts {
  std::string peer;             // as gRPC says: "fd:17", "ipv4:192.0.2.1:50312"
  std::string certificate_pem;  // of a TLS peer; TLS has checked who signed it
  std::string authorization;    // the metadata of that name; "" if there is none
  std::string forwarded{};      // kForwardedKey's metadata (forwarded.h); "" if there is none
};

// Any thread.
class IdentityProvider {
 public:
  virtual ~IdentityProvider() = default;
  // nullopt: not this provider's kind of peer. kUnauthenticated: its kind, and not to be believed.
  virtual Result<std::optional<Caller>> Identify(const PeerFacts& facts) = 0;
};

// The first provider that knows the peer. kUnauthenticated if none does.
class Identities {
 public:
  void Add(std::unique_ptr<IdentityProvider> provider) {
    providers_.push_back(std::move(provider));
  }
  Result<Caller> Identify(const PeerFacts& facts) const;

 private:
  std::vector<std::unique_ptr<IdentityProvider>> providers_;
};

// Peers on a Unix socket whose descriptor was given to gRPC (AddInsecureChannelFromFd): gRPC calls
// such a peer "fd:N", and the kernel says of N who connected. N is open for as long as any call of its
// connection lives (gRPC's transport outlives its streams), so it cannot mean another connection.
class LocalIdentity : public IdentityProvider {
 public:
  explicit LocalIdentity(const Clock* clock) : clock_(clock) {}
  Result<std::optional<Caller>> Identify(const PeerFacts& facts) override;

 private:
  struct Name {
    std::string name;  // empty: it has none
    std::int64_t expires = 0;
  };
  using Names = std::vector<std::pair<std::uint32_t, Name>>;
  std::string UserName(std::uint32_t uid) EXCLUDES(mutex_);
  std::string GroupName(std::uint32_t gid) EXCLUDES(mutex_);
  std::string Cached(Names& names, std::uint32_t id, std::string (*look_up)(std::uint32_t))
      REQUIRES(mutex_);

  const Clock* const clock_;
  Mutex mutex_;
  Names users_ GUARDED_BY(mutex_);
  Names groups_ GUARDED_BY(mutex_);
};

// Peers with a certificate: "cert:NAME". Asked at every call, because a connection outlives both its
// certificate's validity and its revocation.
class CertificateIdentity : public IdentityProvider {
 public:
  CertificateIdentity(std::shared_ptr<pki::RevocationList> revoked, const Clock* clock)
      : revoked_(std::move(revoked)), clock_(clock) {}
  Result<std::optional<Caller>> Identify(const PeerFacts& facts) override;

 private:
  Result<pki::Certificate> Read(const std::string& pem) EXCLUDES(mutex_);

  const std::shared_ptr<pki::RevocationList> revoked_;
  const Clock* const clock_;
  Mutex mutex_;
  std::vector<std::pair<std::string, pki::Certificate>> read_ GUARDED_BY(mutex_);  // newest last
};

}  // namespace gemel::access
