// The explorer says of each node that it reaches a majority of etcd, or not. That is all that links and
// members can make of it: every cut of three links, every set of members that live, is one of four.
#include <gtest/gtest.h>

#include <array>
#include <set>
#include <utility>

namespace gemel::explorer {
namespace {

constexpr std::array<std::pair<int, int>, 3> kLinks{{{0, 1}, {0, 2}, {1, 2}}};  // A-B, A-W, B-W

bool Linked(unsigned links, int a, int b) {
  if (a == b) return true;
  for (std::size_t i = 0; i < kLinks.size(); ++i)
    if (kLinks[i] == std::pair{std::min(a, b), std::max(a, b)}) return (links & 1U << i) != 0;
  return false;
}

// Whether a client on `node` reaches, over some member, a leader with two votes. A member forwards to
// the leader; the leader must reach a second voter itself.
bool Reaches(unsigned links, unsigned members, int node) {
  for (int leader = 0; leader < 3; ++leader) {
    if (!(members & 1U << leader)) continue;
    int votes = 0;
    for (int voter = 0; voter < 3; ++voter)
      if ((members & 1U << voter) && Linked(links, leader, voter)) ++votes;
    if (votes < 2) continue;
    for (int entry = 0; entry < 3; ++entry)
      if ((members & 1U << entry) && Linked(links, node, entry) && Linked(links, entry, leader))
        return true;
  }
  return false;
}

TEST(Topology, EveryCutAndEverySetOfMembers_IsOneOfTheFourThatAreExplored) {
  std::set<std::pair<bool, bool>> seen;
  for (unsigned links = 0; links < 8; ++links)
    for (unsigned members = 0; members < 8; ++members)
      seen.insert({Reaches(links, members, 0), Reaches(links, members, 1)});
  EXPECT_EQ(seen.size(), 4U);
}

TEST(Topology, AnyOneLinkCut_BothReach) {
  for (const unsigned links : {0b110U, 0b101U, 0b011U}) {
    EXPECT_TRUE(Reaches(links, 7, 0)) << links;
    EXPECT_TRUE(Reaches(links, 7, 1)) << links;
  }
}

TEST(Topology, NodeWithBothLinksCut_TheOtherReachesAlone) {
  EXPECT_FALSE(Reaches(0b100, 7, 0));
  EXPECT_TRUE(Reaches(0b100, 7, 1));
}

TEST(Topology, WitnessLost_BothReachWhileTheirLinkHolds) {
  EXPECT_TRUE(Reaches(0b001, 0b011, 0));
  EXPECT_FALSE(Reaches(0b000, 0b011, 0));
}

}  // namespace
}  // namespace gemel::explorer
