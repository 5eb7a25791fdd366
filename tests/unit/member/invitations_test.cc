#include "member/invitations.h"

#include <gtest/gtest.h>

namespace gemel::member {
namespace {

using cluster::Role;

TEST(InvitationsTest, One_IsUsedOnce) {
  Invitations all;
  ASSERT_TRUE(all.Add("secret", Role::kNode, 100, 0));
  EXPECT_TRUE(all.Check("secret", 99));
  EXPECT_TRUE(all.Use("secret", Role::kNode, "b", 99));
  EXPECT_EQ(all.UserOf("secret").value_or(""), "b");
  const auto again = all.Use("secret", Role::kNode, "c", 99);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::kPermissionDenied);
  EXPECT_NE(again.error().message.find("was used by b"), std::string::npos);
}

TEST(InvitationsTest, UseThatCameToNothing_IsUndone) {
  Invitations all;
  ASSERT_TRUE(all.Add("secret", Role::kNode, 100, 0));
  ASSERT_TRUE(all.Use("secret", Role::kNode, "b", 1));
  all.Undo("secret");
  EXPECT_TRUE(all.Use("secret", Role::kNode, "c", 1));
}

TEST(InvitationsTest, ExpiredOrForAnotherRole_IsRefused) {
  Invitations all;
  ASSERT_TRUE(all.Add("secret", Role::kWitness, 100, 0));
  EXPECT_FALSE(all.Use("secret", Role::kNode, "b", 1));
  EXPECT_TRUE(all.Check("secret", 99));
  EXPECT_NE(all.Check("secret", 100).error().message.find("expired"), std::string::npos);
}

TEST(InvitationsTest, WhoGuesses_EndsThemAll) {
  Invitations all;
  ASSERT_TRUE(all.Add("secret", Role::kNode, 100, 0));
  for (int i = 0; i < Invitations::kMostWrong; ++i) EXPECT_FALSE(all.Check("guess", 1));
  EXPECT_FALSE(all.Check("secret", 1));
}

TEST(InvitationsTest, OpenOnes_AreLimited) {
  Invitations all;
  for (std::size_t i = 0; i < Invitations::kMostOpen; ++i)
    ASSERT_TRUE(all.Add(fmt::format("secret {}", i), Role::kNode, 100, 0));
  EXPECT_EQ(all.Add("more", Role::kNode, 100, 0).error().code, Code::kResourceExhausted);
  EXPECT_TRUE(all.Add("more", Role::kNode, 200, 100));
}

}  // namespace
}  // namespace gemel::member
