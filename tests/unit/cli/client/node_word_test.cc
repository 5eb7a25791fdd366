#include "cli/client/node_word.h"

#include <gtest/gtest.h>

namespace gemel::cli {
namespace {

TEST(NodeWord, FlagOfThatNode_SaysSo) {
  const std::vector<std::string> words{"b-2", "--reason", "x", "--yes-b-2-is-off"};
  EXPECT_EQ(OffFlags(words), std::vector<std::string>{"--yes-b-2-is-off"});
  EXPECT_TRUE(SaysOff(OffFlags(words), "b-2").value());
}

TEST(NodeWord, NoFlag_SaysNothing) {
  const std::vector<std::string> words{"b", "--yes", "--yes--is-off", "yes-b-is-off",
                                       "--yes-a=b-is-off"};
  EXPECT_TRUE(OffFlags(words).empty());
  EXPECT_FALSE(SaysOff(OffFlags(words), "b").value());
}

TEST(NodeWord, FlagOfAnotherNode_IsRefused) {
  const auto said = SaysOff({"--yes-a-is-off"}, "b");
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().message, "--yes-a-is-off: this is about b");
  EXPECT_FALSE(SaysOff({"--yes-b-is-off", "--yes-a-is-off"}, "b"));
}

}  // namespace
}  // namespace gemel::cli
