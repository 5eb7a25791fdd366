#include "member/invitations.h"

#include <algorithm>
#include <utility>

#include "pki/secret.h"

namespace gemel::member {
namespace {

// Used and expired ones are kept for so long, so that whoever tries them is told which it is.
constexpr std::int64_t kRemembered = 86'400;

std::unexpected<Error> Denied(std::string message) {
  return MakeError(Code::kPermissionDenied,
                   std::move(message) + ": ask for a new one (gemel cluster invite)");
}

}  // namespace

Status Invitations::Add(std::string secret, cluster::Role role, std::int64_t expires,
                        std::int64_t now) {
  std::erase_if(all_, [now](const Invitation& one) { return one.expires + kRemembered < now; });
  const auto open = std::ranges::count_if(
      all_, [now](const Invitation& one) { return one.user.empty() && now < one.expires; });
  if (static_cast<std::size_t>(open) >= kMostOpen)
    return MakeError(Code::kResourceExhausted,
                     "too many open invitations: wait for them to expire");
  wrong_ = 0;
  all_.push_back({std::move(secret), role, expires, ""});
  return {};
}

Result<Invitations::Invitation*> Invitations::Find(std::string_view secret) {
  Invitation* found = nullptr;
  for (Invitation& one : all_)  // all of them, however early it is found
    if (pki::SecretsEqual(one.secret, secret)) found = &one;
  if (found != nullptr) return found;
  if (++wrong_ >= kMostWrong) all_.clear();
  return Denied(
      "this invitation is not known here: it ended when gemel-member began anew, or after "
      "wrong tries, or it is another cluster's");
}

Status Invitations::Check(std::string_view secret, std::int64_t now) {
  ASSIGN_OR_RETURN(const Invitation* const found, Find(secret));
  if (!found->user.empty())
    return Denied(fmt::format("this invitation was used by {}", found->user));
  if (now >= found->expires) return Denied("this invitation has expired");
  return {};
}

Status Invitations::Use(std::string_view secret, cluster::Role role, std::string user,
                        std::int64_t now) {
  RETURN_IF_ERROR(Check(secret, now));
  ASSIGN_OR_RETURN(Invitation* const found, Find(secret));
  if (found->role != role) {
    return Denied(found->role == cluster::Role::kNode ? "this invitation is for a node"
                                                      : "this invitation is for a witness");
  }
  found->user = std::move(user);
  return {};
}

void Invitations::Undo(std::string_view secret) {
  if (const Result<Invitation*> found = Find(secret)) (*found)->user.clear();
}

Result<std::string> Invitations::UserOf(std::string_view secret) {
  ASSIGN_OR_RETURN(const Invitation* const found, Find(secret));
  if (found->user.empty()) return Denied("this invitation was not used");
  return found->user;
}

}  // namespace gemel::member
