// The invitations of one gemel-member: for one use each, until they expire, with few tries. They end with
// the process. Pure; not thread-safe.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cluster/config/cluster_config.h"

namespace gemel::member {

class Invitations {
 public:
  // Wrong secrets after which all open invitations end: somebody guesses.
  static constexpr int kMostWrong = 10;
  static constexpr std::size_t kMostOpen = 16;

  // Remembers an invitation with this secret until `expires`. kResourceExhausted.
  Status Add(std::string secret, cluster::Role role, std::int64_t expires, std::int64_t now);
  // Whether it may be used now. kPermissionDenied says why not: unknown, used, expired.
  Status Check(std::string_view secret, std::int64_t now);
  // The same for a role; and it is used up. `undo` of a Use that came to nothing makes it usable again.
  Status Use(std::string_view secret, cluster::Role role, std::string user, std::int64_t now);
  void Undo(std::string_view secret);
  // Who used it; kPermissionDenied if nobody did.
  Result<std::string> UserOf(std::string_view secret);

 private:
  struct Invitation {
    std::string secret;
    cluster::Role role = cluster::Role::kNode;
    std::int64_t expires = 0;
    std::string user;  // not empty: used
  };
  Result<Invitation*> Find(std::string_view secret);

  std::vector<Invitation> all_;
  int wrong_ = 0;
};

}  // namespace gemel::member
