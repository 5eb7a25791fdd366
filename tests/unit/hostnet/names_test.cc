#include "hostnet/names.h"

#include <gtest/gtest.h>
#include <net/if.h>

namespace gemel::hostnet {
namespace {

TEST(HostnetNamesTest, LongestPrefix_FitsAnInterface) {
  const auto names = Names::Create("abcde");
  ASSERT_TRUE(names);
  EXPECT_LT(names->Bridge("uid").size(), static_cast<std::size_t>(IFNAMSIZ));
  EXPECT_LT(names->Tap("uid").size(), static_cast<std::size_t>(IFNAMSIZ));
}

// A daemon of another version must find them again.
TEST(HostnetNamesTest, Uid_GivesTheNameItAlwaysGave) {
  const auto names = Names::Create("gm");
  ASSERT_TRUE(names);
  EXPECT_EQ(names->Bridge("5a0e4cf1-8c1d-4a0f-9a63-0d2f1e5b7c11"), "gmbrt7dpextf");
  EXPECT_EQ(names->Tap("5a0e4cf1-8c1d-4a0f-9a63-0d2f1e5b7c11/0"), "gmtpdjlnv5p7");
}

TEST(HostnetNamesTest, OwnNames_AreKnownAndOthersAreNot) {
  const auto names = Names::Create("gm");
  ASSERT_TRUE(names);
  EXPECT_TRUE(names->IsBridge(names->Bridge("a")));
  EXPECT_TRUE(names->IsTap(names->Tap("a")));
  EXPECT_FALSE(names->IsTap(names->Bridge("a")));
  for (const char* other :
       {"gmbr0", "gmbr", "gmbr0000000A", "br0", "xgmbraaaaaaaa", "gmbraaaaaaaaa"})
    EXPECT_FALSE(names->IsBridge(other)) << other;
}

TEST(HostnetNamesTest, BadPrefix_IsRefused) {
  for (const char* prefix : {"", "1a", "abcdef", "A", "a-b"}) EXPECT_FALSE(Names::Create(prefix));
}

TEST(HostnetNamesTest, StateFolder_GivesAPrefixOfItsOwn) {
  EXPECT_EQ(PrefixFor("/var/lib/gemel"), "gm");
  EXPECT_EQ(PrefixFor("/var/lib/gemel/"), "gm");
  EXPECT_NE(PrefixFor("/tmp/a"), PrefixFor("/tmp/b"));
  EXPECT_TRUE(Names::Create(PrefixFor("/tmp/a")));
}

}  // namespace
}  // namespace gemel::hostnet
