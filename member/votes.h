// Which members of a cluster have a vote in etcd (docs/decisions/011-votes-in-larger-clusters.md). Pure, but
// for the environment of tests.
#pragma once
#include <cstddef>

#include "base/result.h"

namespace gemel::member {

// Nodes that come when so many members have a vote get none: they run no etcd.
inline constexpr std::size_t kMostVotes = 5;
// The same, or what GEMEL_MOST_VOTES says: tests need not form clusters of six.
std::size_t MostVotes();

// Why a witness may not join so many members that have a vote; kFailedPrecondition.
Status CheckWitness(std::size_t votes);

}  // namespace gemel::member
