#include "member/votes.h"

#include <cstdlib>

namespace gemel::member {

std::size_t MostVotes() {
  const char* const forced = std::getenv("GEMEL_MOST_VOTES");
  const unsigned long votes = forced == nullptr ? 0 : std::strtoul(forced, nullptr, 10);
  return votes > 0 ? votes : kMostVotes;
}

// With an even number of them, the loss of one more may be survived; a first node may have it early.
Status CheckWitness(std::size_t votes) {
  if (votes < 3 || votes % 2 == 0) return {};
  return FailedPrecondition(
      "{} members have a vote, which is an odd number: a witness would not let the cluster survive "
      "more; it is for two nodes, or four",
      votes);
}

}  // namespace gemel::member
